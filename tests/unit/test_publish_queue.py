"""The publish queue."""

from uuid import UUID

import pytest

from messaging.message_types import CloseCode
from messaging.notifications.notifications import CloseListeners, MessageStored
from messaging.notifications.publish_queue import Publication, PublishQueue

HERS, HIS = UUID(int=1), UUID(int=2)
CLOSE = CloseListeners(CloseCode.REVOKED, None)


@pytest.fixture
def waiting() -> PublishQueue:
    """An empty one."""
    return PublishQueue()


def test_one_notification_a_device(waiting: PublishQueue) -> None:
    """What was stored for a device is told once, with the last number, urgent if any of it was."""
    for notification in (MessageStored(1, True), MessageStored(3, False), MessageStored(2, False)):
        assert waiting.put(Publication(HERS, notification))
    assert waiting.take(9) == [Publication(HERS, MessageStored(3, True))]
    assert waiting.take(9) == []


def test_batches(waiting: PublishQueue) -> None:
    """At most so many come out at once; the rest stays, and everything else goes first."""
    sent = [Publication(HERS, MessageStored(1, False)), Publication(HIS, MessageStored(1, False))]
    ends = [Publication(HERS, CLOSE), Publication(HIS, CLOSE)]
    for publication in sent + ends:
        assert waiting.put(publication)
    assert waiting.take(3) == [*ends, sent[0]]
    assert waiting.take(3) == [sent[1]]


def test_what_is_too_much() -> None:
    """There is room for so many; what is known of a device that waits already can still grow."""
    waiting = PublishQueue(max_waiting=1)
    assert waiting.put(Publication(HERS, MessageStored(1, False)))
    assert waiting.put(Publication(HERS, MessageStored(2, False)))
    assert not waiting.put(Publication(HIS, MessageStored(1, False)))
    assert waiting.put(Publication(HIS, CLOSE))
    assert not waiting.put(Publication(HERS, CLOSE))
