"""Push wake-ups: tells a device that does not listen that something waits, and never what."""
