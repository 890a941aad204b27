"""Own the encryption of messages: keys, sessions and what is kept of them on this device.

The server is given ciphertext only (`kith.calls.messaging`); docs/messaging.md says what it is made
of.
"""
