"""What waits to be published."""

from uuid import UUID

import pytest

from messaging.message_types import CloseCode
from messaging.notifications import publish_queue as publications
from messaging.notifications.notifications import Close, Stored
from messaging.notifications.publish_queue import Publication, PublishQueue

HERS, HIS = UUID(int=1), UUID(int=2)
CLOSE = Close(CloseCode.REVOKED, None)


@pytest.fixture
def waiting() -> PublishQueue:
    """An empty one."""
    return PublishQueue()


def test_one_hint_a_device(waiting: PublishQueue) -> None:
    """What was stored for a device is told once, with the last number, urgent if any of it was."""
    for hint in (Stored(1, True), Stored(3, False), Stored(2, False)):
        assert waiting.put(Publication(HERS, hint))
    assert waiting.take(9) == [Publication(HERS, Stored(3, True))]
    assert waiting.take(9) == []


def test_batches(waiting: PublishQueue) -> None:
    """At most so many come out at once; the rest stays, and everything else goes first."""
    sent = [Publication(HERS, Stored(1, False)), Publication(HIS, Stored(1, False))]
    ends = [Publication(HERS, CLOSE), Publication(HIS, CLOSE)]
    for publication in sent + ends:
        assert waiting.put(publication)
    assert waiting.take(3) == [*ends, sent[0]]
    assert waiting.take(3) == [sent[1]]


def test_what_is_too_much(waiting: PublishQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for so many; what is known of a device that waits already can still grow."""
    monkeypatch.setattr(publications, "MAX_WAITING", 1)
    assert waiting.put(Publication(HERS, Stored(1, False)))
    assert waiting.put(Publication(HERS, Stored(2, False)))
    assert not waiting.put(Publication(HIS, Stored(1, False)))
    assert waiting.put(Publication(HIS, CLOSE))
    assert not waiting.put(Publication(HERS, CLOSE))
