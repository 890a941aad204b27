"""Public keys of devices, with which others start sessions."""
