"""Jobs that wait to be stored: a message or an acknowledgement, and the callback that gets the answer."""

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

#: The weight of a content for a whole group, whose devices are not known before the transaction.
GROUP_WEIGHT = 128


class SendJob:
    """A message on its way into mailboxes."""

    __slots__ = ("answer", "fingerprint", "key", "on_answer", "size", "submission", "weight")

    def __init__(
        self, submission: MessageSubmission, on_answer: Callable[[AcceptedMessage | Problem], None]
    ) -> None:
        self.submission = submission
        self.on_answer = on_answer
        self.answer: AcceptedMessage | Problem | None = None
        #: The sending device and its client id; integers are found faster than UUIDs.
        self.key = (submission.from_device_id.int, submission.client_id)
        self.fingerprint = _fingerprint(submission)
        contents = submission.contents
        if isinstance(contents, SharedContent):
            self.weight, self.size = GROUP_WEIGHT, len(contents.content)
        else:
            self.weight = len(contents)
            self.size = sum([len(envelope.content) for envelope in contents])

    def send_answer(self) -> None:
        """Pass the answer to the callback."""
        if self.answer is not None:
            self.on_answer(self.answer)


def _fingerprint(submission: MessageSubmission) -> bytes:
    """Return the SHA-256 digest of what makes a message the same; the order of its envelopes does not."""
    to, contents = submission.to, submission.contents
    recipient = b"group" + to.id.bytes if isinstance(to, GroupAtVersion) else to.bytes
    digest = hashlib.sha256(recipient + submission.expires_in.to_bytes(4))
    if isinstance(contents, SharedContent):
        digest.update(contents.devices_digest + hashlib.sha256(contents.content).digest())
    else:
        for device_id, content, _ in sorted(contents) if len(contents) > 1 else contents:
            digest.update(device_id.bytes + hashlib.sha256(content).digest())
    return digest.digest()


@dataclass(slots=True, eq=False)
class AcknowledgeJob:
    """The acknowledgement of a device of everything in its mailbox up to a number."""

    device_id: UUID
    through: int
    on_answer: Callable[[Problem | None], None]
    answer: Problem | None = None
    weight = 1
    size = 0

    def send_answer(self) -> None:
        """Pass the answer to the callback."""
        self.on_answer(self.answer)


Job = SendJob | AcknowledgeJob


def refuse_sends(jobs: Sequence[Job], problem: Problem) -> list[Job]:
    """Set the problem as the answer of each message among jobs; return the other jobs."""
    others: list[Job] = []
    for job in jobs:
        if isinstance(job, SendJob):
            job.answer = problem
        else:
            others.append(job)
    return others
