"""Push wake-ups: a device that does not listen is told that something waits, and never what."""
