"""Own the encryption of messages: keys, sessions and what is kept of them on this device.

The server is given ciphertext only (`kith.api.messages`); docs/messaging.md says what it is made
of.
"""

from kith.messaging.history import Entry
from kith.messaging.messenger import Messenger, TextUnfit
from kith.messaging.refusals import KeysChanged, KeysUnfit, NobodyReads, NotSent
from kith.messaging.store import Store
from kith.messaging.vault import StoreBroken, StoreLocked, Unlocking

__all__ = [
    "Entry",
    "KeysChanged",
    "KeysUnfit",
    "Messenger",
    "NobodyReads",
    "NotSent",
    "Store",
    "StoreBroken",
    "StoreLocked",
    "TextUnfit",
    "Unlocking",
]
