"""What waits to be stored: a message or an acknowledgement, and who is told when it was.

Owns what a job weighs in a transaction, and what makes two messages the same.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from core.problems import Problem
from messaging.letters import Accepted, Outgoing, Shared, ToGroup

#: What content for a whole group weighs: its devices are not known before the transaction.
GROUP_WEIGHT = 128


@dataclass(eq=False)
class Sending:
    """A message on its way into mailboxes."""

    outgoing: Outgoing
    done: Callable[[Accepted | Problem], None]
    answer: Accepted | Problem | None = None

    @property
    def weight(self) -> int:
        """Count its envelopes."""
        sealed = self.outgoing.sealed
        return GROUP_WEIGHT if isinstance(sealed, Shared) else len(sealed)

    @cached_property
    def size(self) -> int:
        """Count the bytes of its content."""
        sealed = self.outgoing.sealed
        if isinstance(sealed, Shared):
            return len(sealed.content)
        return sum([len(one.content) for one in sealed])

    @cached_property
    def fingerprint(self) -> bytes:
        """Hash what makes it the same message (SHA-256); the order of its envelopes does not."""
        to, sealed = self.outgoing.to, self.outgoing.sealed
        recipient = b"g" + to.id.bytes if isinstance(to, ToGroup) else b"a" + to.bytes
        digest = hashlib.sha256(recipient + self.outgoing.expires_in.to_bytes(4))
        if isinstance(sealed, Shared):
            digest.update(sealed.devices_digest + hashlib.sha256(sealed.content).digest())
        else:
            for device_id, content, _ in sorted(sealed) if len(sealed) > 1 else sealed:
                digest.update(device_id.bytes + hashlib.sha256(content).digest())
        return digest.digest()

    def tell(self) -> None:
        """Give the answer to whoever waits for it."""
        if self.answer is not None:
            self.done(self.answer)


@dataclass(eq=False)
class Acknowledging:
    """An acknowledgement of all up to a number, in the mailbox of the device that makes it."""

    device_id: UUID
    through: int
    done: Callable[[Problem | None], None]
    answer: Problem | None = None
    weight = 1
    size = 0

    def tell(self) -> None:
        """Give the answer to whoever waits for it."""
        self.done(self.answer)


Job = Sending | Acknowledging
