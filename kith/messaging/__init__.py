"""Encrypted messages: keys, sessions, and the messages that this device keeps.

The server receives ciphertext only (`kith.api.messages`); docs/messaging.md describes its contents. The
packages come with the extra `kith[messages]`; without it the import raises MessagesNotInstalled.
"""

from kith.errors import MessagesNotInstalled

try:
    from kith.messaging.history import Entry
    from kith.messaging.messenger import Messenger, TextInvalid
    from kith.messaging.recipients import KeysChanged, KeysInvalid, NoRecipientDevices, NotSent
    from kith.messaging.store import Store
    from kith.messaging.store_encryption import StoreBroken, StoreLocked, UnlockMethod
    from kith.messaging.stream import Stream
except ModuleNotFoundError as error:
    if (error.name or "").startswith("kith"):
        raise
    raise MessagesNotInstalled from None

__all__ = [
    "Entry",
    "KeysChanged",
    "KeysInvalid",
    "Messenger",
    "NoRecipientDevices",
    "NotSent",
    "Store",
    "StoreBroken",
    "StoreLocked",
    "Stream",
    "TextInvalid",
    "UnlockMethod",
]
