"""Mailboxes: messages stored for each device until it acknowledges them."""
