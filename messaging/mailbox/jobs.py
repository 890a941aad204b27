"""What waits to be stored: a message or an acknowledgement, and who is told when it was.

Owns what a job weighs in a transaction, and what makes two messages the same.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from core.problems import Problem
from messaging.message_types import (
    AcceptedMessage,
    GroupAtVersion,
    MessageSubmission,
    SharedContent,
)

#: What content for a whole group weighs: its devices are not known before the transaction.
GROUP_WEIGHT = 128


class SendJob:
    """A message on its way into mailboxes."""

    __slots__ = ("answer", "done", "fingerprint", "name", "outgoing", "size", "weight")

    def __init__(
        self, outgoing: MessageSubmission, done: Callable[[AcceptedMessage | Problem], None]
    ) -> None:
        self.outgoing = outgoing
        self.done = done
        self.answer: AcceptedMessage | Problem | None = None
        #: What the sender calls it; whole numbers are found faster than UUIDs.
        self.name = (outgoing.from_device_id.int, outgoing.client_id)
        #: SHA-256 over what makes it the same message.
        self.fingerprint = _fingerprint(outgoing)
        sealed = outgoing.sealed
        if isinstance(sealed, SharedContent):
            self.weight, self.size = GROUP_WEIGHT, len(sealed.content)
        else:
            self.weight, self.size = len(sealed), sum([len(one.content) for one in sealed])

    def tell(self) -> None:
        """Give the answer to whoever waits for it."""
        if self.answer is not None:
            self.done(self.answer)


def _fingerprint(outgoing: MessageSubmission) -> bytes:
    """Hash what makes a message the same; the order of its envelopes does not."""
    to, sealed = outgoing.to, outgoing.sealed
    recipient = b"group" + to.id.bytes if isinstance(to, GroupAtVersion) else to.bytes
    digest = hashlib.sha256(recipient + outgoing.expires_in.to_bytes(4))
    if isinstance(sealed, SharedContent):
        digest.update(sealed.devices_digest + hashlib.sha256(sealed.content).digest())
    else:
        for device_id, content, _ in sorted(sealed) if len(sealed) > 1 else sealed:
            digest.update(device_id.bytes + hashlib.sha256(content).digest())
    return digest.digest()


@dataclass(slots=True, eq=False)
class AcknowledgeJob:
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


Job = SendJob | AcknowledgeJob


def refuse_sends(jobs: Sequence[Job], problem: Problem) -> list[Job]:
    """Refuse the messages among jobs; give the others."""
    others: list[Job] = []
    for job in jobs:
        if isinstance(job, SendJob):
            job.answer = problem
        else:
            others.append(job)
    return others
