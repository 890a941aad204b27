"""Notifications as they cross the bus, and whatever else crosses it."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from messaging.message_types import (
    CloseCode,
    GroupChangedNotice,
    KeysLowNotice,
    LockRemovalNotice,
    MissedNotice,
    Signal,
)
from messaging.notifications.notifications import (
    MAX_BYTES,
    VERSION,
    CloseListeners,
    ListenerRegistered,
    MessagesAcknowledged,
    MessageStored,
    Notification,
    decode,
    encode,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SIGNAL = Signal(UUID(int=1), UUID(int=2), b"ring", NOW, NOW)


@pytest.mark.parametrize(
    "notification",
    [
        MessageStored(2**63 - 1, True),
        ListenerRegistered(b"12345678", 1.5, False),
        CloseListeners(CloseCode.TOKEN_REPLACED, b"12345678"),
        SIGNAL,
        KeysLowNotice(3, 4),
        KeysLowNotice(3, 4, NOW),
        GroupChangedNotice(UUID(int=3), 2),
        CloseListeners(CloseCode.NUMBER_CHANGED, None),
        MissedNotice(NOW, 3),
        MessagesAcknowledged(4),
        LockRemovalNotice(NOW),
        LockRemovalNotice(None),
    ],
)
def test_what_is_written_is_read(notification: Notification) -> None:
    """Each kind comes out as it went in."""
    assert decode(encode(notification)) == notification


@pytest.mark.parametrize(
    "data",
    [
        b"",
        VERSION,
        b"\x01" + encode(MessageStored(1, True))[1:],
        encode(MessageStored(1, True)) + b"\x00",
        encode(ListenerRegistered(b"123456789", 1.5, False)),
        encode(CloseListeners(CloseCode.REVOKED, None)).replace(b"\xcd\x0f\xa3", b"\xcd\x0f\x00"),
        encode(replace(SIGNAL, content=bytes(MAX_BYTES))),
    ],
)
def test_what_is_no_hint(data: bytes) -> None:
    """Nothing, half, another version, too much, a long name, an unknown reason, too large."""
    assert decode(data) is None


@given(st.binary(max_size=100))
def test_garbage_does_not_raise(data: bytes) -> None:
    """Whatever is published, reading it gives a notification or None."""
    decode(VERSION + data)
