"""Deliver to them: one mailbox a device, ciphertext in order until it is acknowledged."""
