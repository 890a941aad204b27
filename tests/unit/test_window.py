"""The window of a socket: once, in order, no more than 256, out of memory or out of the table."""

from datetime import UTC, datetime
from uuid import UUID

from messaging.message_types import Delivery, MessageHeader
from messaging.stream.window import (
    MAX_READ,
    MAX_READ_BYTES,
    MAX_STORED_BYTES,
    MAX_UNACKNOWLEDGED,
    Window,
)

_MESSAGE = MessageHeader(
    UUID(int=1), UUID(int=2), UUID(int=3), datetime.now(UTC), datetime.now(UTC)
)
ENDLESS = 2**40


def _deliveries(*seqs: int, size: int = 1) -> list[Delivery]:
    return [Delivery(seq, _MESSAGE, bytes(size), False) for seq in seqs]


def _taken(window: Window) -> list[int]:
    return [delivery.seq for delivery in window.take(1000, ENDLESS)]


def _current(through: int = 0) -> Window:
    """Make a window that has read the table, where there was one message or none."""
    window = Window()
    wanted = window.begin_read()
    window.finish_read(_deliveries(through) if through else (), wanted)
    assert _taken(window) == ([through] if through else [])
    assert window.take_caught_up()
    assert not window.take_caught_up()
    return window


def test_it_begins_with_the_table() -> None:
    """Before the table was read, not even what follows is taken out of memory."""
    window = Window()
    window.add_stored(_deliveries(1))
    assert _taken(window) == []
    assert window.begin_read() == MAX_READ


def test_what_follows_is_taken_from_memory() -> None:
    """New messages that follow what was sent need no look into the table."""
    window = _current(7)
    window.add_stored(_deliveries(8, 9))
    window.add_stored(_deliveries(10))
    assert _taken(window) == [8, 9, 10]
    assert window.begin_read() == 0
    assert not window.take_caught_up()


def test_a_gap_is_left_to_the_table() -> None:
    """What another process stored, or what expired, lies between: only the table knows."""
    window = _current(7)
    window.add_stored(_deliveries(9))
    assert _taken(window) == []
    wanted = window.begin_read()
    window.finish_read(_deliveries(8, 9), wanted)
    assert _taken(window) == [8, 9]
    assert window.take_caught_up()


def test_an_empty_table_has_a_mark_too() -> None:
    """In a mailbox that was used and is empty, the next message follows the last number given out."""
    window = Window()
    window.finish_read((), window.begin_read(), 4)
    assert _taken(window) == []
    assert window.take_caught_up()
    assert window.sent_through == 4
    window.add_stored(_deliveries(5))
    assert _taken(window) == [5]
    assert not window.must_read()


def test_gaps_behind_what_was_read() -> None:
    """Numbers that expired behind the last message of a page are passed over with it."""
    window = Window()
    window.finish_read(_deliveries(2, 5), window.begin_read(), 7)
    window.add_stored(_deliveries(7, 8))
    assert _taken(window) == [2, 5, 8]
    window = Window()
    window.finish_read(_deliveries(2, 5), window.begin_read(), 7)
    assert [one.seq for one in window.take(2, ENDLESS)] == [2, 5]
    assert window.take_caught_up()
    assert window.sent_through == 7


def test_a_gap_says_that_the_table_must_be_read() -> None:
    """Whoever took nothing learns that there is something to take."""
    window = _current(7)
    assert not window.must_read()
    window.add_stored(_deliveries(9))
    assert _taken(window) == []
    assert window.must_read()


def test_a_notification_without_messages_leads_to_the_table() -> None:
    """Nothing in hand means that another process stored something."""
    window = _current(7)
    window.add_stored(())
    assert window.begin_read() == MAX_READ


def test_what_comes_while_the_table_is_read_comes_once() -> None:
    """Messages may be in both: what was read, and what was told meanwhile."""
    window = _current(7)
    window.add_stored(())
    wanted = window.begin_read()
    window.add_stored(_deliveries(9, 10))
    window.finish_read(_deliveries(8, 9), wanted)
    assert _taken(window) == [8, 9, 10]
    assert window.take_caught_up()


def test_no_more_than_the_window() -> None:
    """The 257th waits for an acknowledgement, wherever it is."""
    window = _current()
    window.add_stored(_deliveries(*range(1, 257)))
    assert len(_taken(window)) == MAX_UNACKNOWLEDGED
    window.add_stored(_deliveries(257))
    assert _taken(window) == []
    window.add_stored(())
    assert window.begin_read() == 0
    window.acknowledge(2)
    assert window.begin_read() == MAX_READ
    window.finish_read(_deliveries(257, 258, 259), MAX_READ)
    assert _taken(window) == [257, 258]


def test_memory_is_bounded() -> None:
    """Too many, or too large ones for a peer that does not take them are left to the table."""
    for deliveries in (
        _deliveries(*range(1, 258)),
        _deliveries(*range(1, 6), size=MAX_STORED_BYTES // 4),
    ):
        window = _current()
        window.add_stored(deliveries)
        assert window.begin_read() == MAX_READ


def test_bytes_end_a_turn() -> None:
    """No more is taken at once when there are so many bytes."""
    window = _current()
    window.add_stored(_deliveries(1, 2, 3, size=100))
    assert [delivery.seq for delivery in window.take(10, 150)] == [1, 2]


def test_what_was_acknowledged_elsewhere_is_not_sent() -> None:
    """An acknowledgement beyond what was sent moves the cursor."""
    window = _current()
    window.add_stored(_deliveries(1, 2, 3))
    window.acknowledge(2)
    assert _taken(window) == [3]


def test_a_full_page_of_the_table_is_not_the_end() -> None:
    """Only a page that is not full says that all was read."""
    window = Window()
    wanted = window.begin_read()
    window.finish_read(_deliveries(*range(1, wanted + 1)), wanted)
    assert len(_taken(window)) == wanted
    assert not window.take_caught_up()
    window.finish_read((), window.begin_read())
    assert window.take_caught_up()


def test_large_messages_are_read_few_at_a_time() -> None:
    """A peer that is slow keeps a bounded number of bytes here; nothing is left out, nothing comes twice."""
    window = Window()
    sent: list[int] = []
    most = 0
    while (wanted := window.begin_read()) and len(sent) < 200:
        after = window.sent_through
        seqs = list(range(after + 1, 201))[:wanted]
        window.finish_read(_deliveries(*seqs, size=65_536), wanted, 200)
        taken = window.take(1000, ENDLESS)
        most = max(most, sum(len(delivery.content) for delivery in taken))
        sent += [delivery.seq for delivery in taken]
        window.acknowledge(sent[-1])
    assert sent == list(range(1, 201))
    assert most <= MAX_READ_BYTES


def test_after_large_messages_many_small_ones_are_read_at_once_again() -> None:
    """How many are read doubles until it is what it was."""
    window = Window()
    window.finish_read(_deliveries(*range(1, 129), size=65_536), window.begin_read(), 1000)
    assert _taken(window) == [1, 2, 3, 4]
    asked = []
    while window.sent_through < 200:
        wanted = window.begin_read()
        asked.append(wanted)
        after = window.sent_through
        window.finish_read(_deliveries(*range(after + 1, after + 1 + wanted)), wanted, 1000)
        window.acknowledge(_taken(window)[-1])
    assert asked == [4, 8, 16, 32, 64, 128]
