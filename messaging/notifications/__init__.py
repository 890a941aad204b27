"""Notifications: tell the listeners of a mailbox, in this process and in others, what was stored."""
