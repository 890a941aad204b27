"""Wake-ups: who listens for a mailbox hears at once that something was stored for it.

Owns the listeners of this process: open sockets and long polls, one a device; those of others are reached
through a bus. A wake-up is a hint, and the table the truth: what a listener was not told is found by the
slow poll (`net.py`). Refuses a second listener for a device; the newer one ends the older.
"""

import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from messaging.letters import Closing, Delivery, GroupChanged, KeysLow, Missed, Notice, Signal
from messaging.workers.hints import Arrived, Changed, Close, Hint, LeftOut, Low, Passed, Stored

#: Bytes of a token's hash by which it is told from another one of its device.
TOKEN_MARK = 8
#: Seconds that the clocks of two hosts may differ.
SKEW = 2.0


class Listener(Protocol):
    """Who listens for the mailbox of a device. Its methods are called often, and must not wait."""

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Hear that something was stored: all of it in order, or nothing when another process stored it."""

    def receive(self, signal: Signal) -> None:
        """Take an ephemeral envelope."""

    def notice(self, notice: Notice) -> None:
        """Take a hint."""

    def close(self, why: Closing) -> None:
        """End, because this device is not to listen here any more."""


class Waiter:
    """A long poll, which only wants to know that something was stored."""

    def __init__(self) -> None:
        self._event = threading.Event()
        #: Whether it should answer now, with whatever there is.
        self.closed = False

    def clear(self) -> None:
        """Forget earlier wake-ups; what is looked for afterwards cannot be missed."""
        self._event.clear()

    def wait(self, seconds: float) -> bool:
        """Wait for so long; say whether a wake-up came."""
        return self._event.wait(seconds)

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """End the wait."""
        self._event.set()

    def receive(self, signal: Signal) -> None:
        """Let it go: signals are for sockets."""

    def notice(self, notice: Notice) -> None:
        """Let it go: hints are for sockets."""

    def close(self, why: Closing) -> None:
        """End the wait, and the request."""
        self.closed = True
        self._event.set()


class Bus(Protocol):
    """Carries hints to other processes and back. Its methods are called often, and must not wait."""

    def listening_changed(self, device_id: UUID) -> None:
        """Hear that somebody began or ceased to listen for a device here."""

    def publish(self, device_id: UUID, hint: Hint) -> None:
        """Tell the other processes; when it is urgent and none of them listens, call `unheard`."""


@dataclass(slots=True, eq=False)
class Seat:
    """A listener, and what is known of it here."""

    listener: Listener
    #: Begin of the hash of the token it came with; None is not looked after.
    token: bytes | None
    #: Drawn, so that its own announcement is known when it comes back.
    name: bytes
    #: Seconds since 1970.
    since: float
    #: The last number in the mailbox that it was woken for.
    told: int = 0
    #: Whether its announcement came back: what is announced after that is newer.
    announced: bool = False

    def arrival(self, *, again: bool) -> Arrived:
        """Give its announcement."""
        return Arrived(self.name, self.since, again)

    def is_older_than(self, other: Arrived) -> bool:
        """Say whether another listener of the device came later.

        All see announcements in one order, which needs no clocks. They count only where it says nothing:
        for what is announced again, or comes out of a bus that stood still.
        """
        if other.again or abs(other.since - self.since) > SKEW:
            return (self.since, self.name) < (other.since, other.name)
        return self.announced

    def holds_other_than(self, token_hash: bytes | None) -> bool:
        """Say whether it came with another token than this one."""
        return token_hash is None or self.token != token_hash[:TOKEN_MARK]


class Wakeups:
    """Finds the listener of a mailbox, here or through the bus."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seats: dict[UUID, Seat] = {}
        #: The way to other processes; None: there are none.
        self.bus: Bus | None = None
        #: Told of devices that should be woken and for which nobody listens; must not wait.
        self.unheard: list[Callable[[Sequence[UUID]], None]] = []

    @contextmanager
    def listening(
        self, device_id: UUID, listener: Listener, token_hash: bytes | None = None
    ) -> Iterator[None]:
        """Listen in this block, in the place of whoever listened for the mailbox before.

        token_hash: of the token that the listener came with (`Caller.token_hash`); it ends when that is
        replaced.
        """
        token = None if token_hash is None else token_hash[:TOKEN_MARK]
        seat = Seat(listener, token, secrets.token_bytes(8), self._clock().timestamp())
        with self._lock:
            older = self._seats.get(device_id)
            self._seats[device_id] = seat
        if older is not None:
            older.listener.close(Closing.REPLACED)
        self._tell_bus(device_id)
        try:
            yield
        finally:
            with self._lock:
                left = self._seats.get(device_id) is seat
                if left:
                    del self._seats[device_id]
            if left:
                self._tell_bus(device_id)

    def _tell_bus(self, device_id: UUID) -> None:
        if self.bus is not None:
            self.bus.listening_changed(device_id)

    def seat(self, device_id: UUID) -> Seat | None:
        """Give the listener of a device in this process."""
        return self._seats.get(device_id)

    def seats(self) -> dict[UUID, Seat]:
        """Give all listeners of this process, as of now."""
        with self._lock:
            return dict(self._seats)

    def stored(
        self, deliveries: Mapping[UUID, Sequence[Delivery]], urgent: Collection[UUID] = ()
    ) -> None:
        """Tell what was stored, after the commit.

        urgent: those of the devices that are woken in another way (`unheard`) when nobody listens.
        """
        unheard = []
        for device_id, of_device in deliveries.items():
            seq = of_device[-1].seq if of_device else 0
            seat = self._seats.get(device_id)
            if seat is not None:
                seat.told = max(seat.told, seq)
                seat.listener.wake(of_device)
            elif self.bus is not None:
                self.bus.publish(device_id, Stored(seq, device_id in urgent))
            elif device_id in urgent:
                unheard.append(device_id)
        self.tell_unheard(unheard)

    def tell_unheard(self, device_ids: Sequence[UUID]) -> None:
        """Have devices woken in another way."""
        if device_ids:
            for wake in self.unheard:
                wake(device_ids)

    def signal(self, device_id: UUID, signal: Signal) -> None:
        """Pass an ephemeral envelope on to whoever listens; it is gone when nobody does."""
        seat = self._seats.get(device_id)
        if seat is not None:
            seat.listener.receive(signal)
        elif self.bus is not None:
            self.bus.publish(device_id, Passed(signal))

    def notice(self, device_id: UUID, notice: Notice) -> None:
        """Pass a hint on to whoever listens."""
        seat = self._seats.get(device_id)
        if seat is not None:
            seat.listener.notice(notice)
        elif self.bus is not None:
            self.bus.publish(device_id, _hint(notice))

    def close(self, device_id: UUID, why: Closing, unless_token: bytes | None = None) -> None:
        """End whoever listens for a device, here and elsewhere.

        unless_token: hash of the token with which a listener stays.
        """
        seat = self._seats.get(device_id)
        if seat is not None and seat.holds_other_than(unless_token):
            seat.listener.close(why)
        if self.bus is not None:
            mark = None if unless_token is None else unless_token[:TOKEN_MARK]
            self.bus.publish(device_id, Close(why, mark))

    def hear(self, device_id: UUID, hint: Hint) -> None:
        """Take what another process, or this one, said over the bus."""
        seat = self._seats.get(device_id)
        if seat is None:
            # She left just now, and was counted among those who hear it.
            if isinstance(hint, Stored) and hint.urgent:
                self.tell_unheard([device_id])
            return
        match hint:
            case Stored():
                seat.told = max(seat.told, hint.seq)
                seat.listener.wake(())
            case Passed():
                # A bus that stood still gives out what it held when it goes on.
                if hint.signal.expires_at > self._clock():
                    seat.listener.receive(hint.signal)
            case Low() | Changed() | LeftOut():
                seat.listener.notice(hint.notice)
            case Close():
                if seat.holds_other_than(hint.unless_token):
                    seat.listener.close(hint.why)
            case Arrived():
                self._meet(device_id, seat, hint)

    def _meet(self, device_id: UUID, seat: Seat, other: Arrived) -> None:
        if other.name == seat.name:
            seat.announced = True
        elif seat.is_older_than(other):
            seat.listener.close(Closing.REPLACED)
        elif self.bus is not None and (other.again or seat.since - other.since > SKEW):
            # The other one did not hear of this newer one.
            self.bus.publish(device_id, seat.arrival(again=True))


def _hint(notice: Notice) -> Hint:
    """Write a hint to a listener as it goes to other processes."""
    match notice:
        case KeysLow():
            return Low(notice)
        case GroupChanged():
            return Changed(notice)
        case Missed():
            return LeftOut(notice)
