"""Hints as they cross the bus, and whatever else crosses it."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.message_types import (
    CloseCode,
    GroupChangedNotice,
    KeysLowNotice,
    LockRemovalNotice,
    MissedNotice,
    Signal,
)
from messaging.notifications.notifications import (
    LARGEST,
    Arrived,
    Changed,
    Close,
    Emptied,
    Hint,
    LeftOut,
    Low,
    Passed,
    Stored,
    Unlocking,
    decode,
    encode,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SIGNAL = Signal(UUID(int=1), UUID(int=2), b"ring", NOW, NOW)


@pytest.mark.parametrize(
    "hint",
    [
        Stored(2**63 - 1, True),
        Arrived(b"12345678", 1.5, False),
        Close(CloseCode.TOKEN_REPLACED, b"12345678"),
        Passed(SIGNAL),
        Low(KeysLowNotice(3, 4)),
        Low(KeysLowNotice(3, 4, NOW)),
        Changed(GroupChangedNotice(UUID(int=3), 2)),
        Close(CloseCode.NUMBER_CHANGED, None),
        LeftOut(MissedNotice(NOW, 3)),
        Emptied(4),
        Unlocking(LockRemovalNotice(NOW)),
        Unlocking(LockRemovalNotice(None)),
    ],
)
def test_what_is_written_is_read(hint: Hint) -> None:
    """Each kind comes out as it went in."""
    assert decode(encode(hint)) == hint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x02" + encode(Stored(1, True))[1:],
        encode(Stored(1, True)) + b"\x00",
        encode(Arrived(b"123456789", 1.5, False)),
        encode(Close(CloseCode.REVOKED, None)).replace(b"\xcd\x0f\xa3", b"\xcd\x0f\x00"),
        encode(Passed(SIGNAL._replace(content=bytes(LARGEST)))),
    ],
)
def test_what_is_no_hint(data: bytes) -> None:
    """Nothing, half, another version, too much, a long name, an unknown reason, too large."""
    assert decode(data) is None


@given(st.binary(max_size=100))
def test_garbage_does_not_raise(data: bytes) -> None:
    """Whatever is published, reading it gives a hint or None."""
    decode(b"\x01" + data)
