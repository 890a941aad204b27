"""Listeners of a mailbox: open sockets and long polls, and what this process knows of each."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from messaging.message_types import CloseCode, Delivery, Notice, Signal
from messaging.notifications.notifications import ListenerRegistered

#: Bytes of a token's hash that tell it from the other tokens of its device.
TOKEN_PREFIX_BYTES = 8
#: Seconds that the clocks of two hosts may differ.
MAX_CLOCK_SKEW_SECONDS = 2.0


class Listener(Protocol):
    """Receives what concerns the mailbox of a device. Its methods are called often and must not block."""

    def on_stored(self, deliveries: Sequence[Delivery]) -> None:
        """Receive the messages just stored, in order; none when another process stored them."""

    def on_signal(self, signal: Signal) -> None:
        """Receive an ephemeral envelope."""

    def on_notice(self, notice: Notice) -> None:
        """Receive a notice."""

    def on_acknowledged(self, through: int) -> None:
        """Receive how far the device acknowledged messages over another connection."""

    def close(self, code: CloseCode) -> None:
        """End this listener."""


class LongPoll:
    """A long poll, which only waits until something is stored."""

    def __init__(self) -> None:
        self._event = threading.Event()
        #: Whether it should answer now, with whatever there is.
        self.closed = False

    def clear(self) -> None:
        """Forget earlier wake-ups. A read that follows cannot miss a message."""
        self._event.clear()

    def wait(self, seconds: float) -> bool:
        """Wait at most so many seconds; return whether something was stored."""
        return self._event.wait(seconds)

    def on_stored(self, deliveries: Sequence[Delivery]) -> None:
        """End the wait."""
        self._event.set()

    def _ignore(self, _: object) -> None:
        pass

    # Only sockets need these.
    on_signal = on_notice = on_acknowledged = _ignore

    def close(self, code: CloseCode) -> None:
        """End the wait and the request."""
        self.closed = True
        self._event.set()


@dataclass(slots=True, eq=False)
class ListenerSlot:
    """A listener in the registry, with its state."""

    listener: Listener
    #: Prefix of the hash of the token it authenticated with; None: the token is not checked.
    token_prefix: bytes | None
    #: Random, so that its own registration is recognised when the bus returns it.
    id: bytes
    #: Seconds since 1970.
    registered_at: float
    is_poll: bool = False
    #: The last number in the mailbox that it was notified of.
    notified_seq: int = 0
    #: The acknowledged number as of the last poll of the table.
    acked_seq: int = 0
    #: Whether its registration was published, and whether the bus returned it: what the bus brings after
    #: that is newer.
    is_published: bool = False
    is_confirmed: bool = False
    #: Of a socket: until when a long poll of the device may wait elsewhere, by the monotonic clock.
    remote_poll_until: float = 0.0

    def registration(self, *, is_repeat: bool) -> ListenerRegistered:
        """Return the notification that announces it to other processes."""
        return ListenerRegistered(self.id, self.registered_at, is_repeat, self.is_poll)

    def is_older_than(self, other: ListenerRegistered) -> bool:
        """Return whether another listener of the device registered later.

        All processes see registrations in one order, which needs no clocks. Clocks decide where that
        order says nothing: for repeats, and for what a stalled bus delivers late.
        """
        if (
            other.is_repeat
            or abs(other.registered_at - self.registered_at) > MAX_CLOCK_SKEW_SECONDS
        ):
            return (self.registered_at, self.id) < (other.registered_at, other.id)
        return self.is_confirmed

    def has_other_token(self, token_hash: bytes | None) -> bool:
        """Return whether it authenticated with another token than this one."""
        return token_hash is None or self.token_prefix != token_hash[:TOKEN_PREFIX_BYTES]
