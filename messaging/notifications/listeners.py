"""Wake-ups: who listens for a mailbox hears at once that something was stored for it.

The listeners of this process are open sockets and long polls, one of each kind a device, side by side; a
newer one of a kind ends the older. Those of other processes are reached through a bus. A wake-up is a hint,
and the table the truth: what a listener was not told is found by the slow poll (`net.py`).
"""

import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from messaging.mailbox.schemas import MAX_WAIT
from messaging.message_types import (
    CloseCode,
    Delivery,
    GroupChangedNotice,
    KeysLowNotice,
    LockRemovalNotice,
    MissedNotice,
    Notice,
    Signal,
)
from messaging.notifications.notifications import (
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
)

#: Bytes of a token's hash by which it is told from another one of its device.
TOKEN_MARK = 8
#: Seconds that the clocks of two hosts may differ.
SKEW = 2.0
#: Seconds after its announcement in which a long poll elsewhere is told too; it waits no longer than this.
POLL_SECONDS = MAX_WAIT + 5.0


class Listener(Protocol):
    """Who listens for the mailbox of a device. Its methods are called often, and must not wait."""

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Hear that something was stored: all of it in order, or nothing when another process stored it."""

    def receive(self, signal: Signal) -> None:
        """Take an ephemeral envelope."""

    def notice(self, notice: Notice) -> None:
        """Take a hint."""

    def acknowledged(self, through: int) -> None:
        """Hear that the device acknowledged messages in another way."""

    def close(self, why: CloseCode) -> None:
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

    def acknowledged(self, through: int) -> None:
        """Let it go: a poll has no window."""

    def close(self, why: CloseCode) -> None:
        """End the wait, and the request."""
        self.closed = True
        self._event.set()


class Bus(Protocol):
    """Carries hints to other processes and back. Its methods are called often, and must not wait."""

    def listening_changed(self, device_id: UUID) -> None:
        """Hear that somebody began or ceased to listen for a device here."""

    def publish(self, device_id: UUID, hint: Hint) -> None:
        """Tell the other processes; when it is urgent and none of them listens, call `unheard`."""

    def ask(self, device_id: UUID, heard: Callable[[bool], None]) -> None:
        """Find out whether somebody listens for a device in another process."""


@dataclass(slots=True, eq=False)
class ListenerSlot:
    """A listener, and what is known of it here."""

    listener: Listener
    #: Begin of the hash of the token it came with; None is not looked after.
    token: bytes | None
    #: Drawn, so that its own announcement is known when it comes back.
    name: bytes
    #: Seconds since 1970.
    since: float
    is_poll: bool = False
    #: The last number in the mailbox that it was woken for.
    told: int = 0
    #: What its device had acknowledged when that was looked at last.
    acked: int = 0
    #: Whether it was announced at all, and whether that came back: what is announced after that is newer.
    sent: bool = False
    announced: bool = False
    #: Of a socket: until when a long poll of the device may wait elsewhere, by the monotonic clock.
    polled_until: float = 0.0

    def arrival(self, *, again: bool) -> Arrived:
        """Give its announcement."""
        return Arrived(self.name, self.since, again, self.is_poll)

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


class ListenerRegistry:
    """Finds the listener of a mailbox, here or through the bus."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sockets: dict[UUID, ListenerSlot] = {}
        self._polls: dict[UUID, ListenerSlot] = {}
        #: The way to other processes; None: there are none.
        self.bus: Bus | None = None
        #: Told of devices that should be woken and for which nobody listens; must not wait.
        self.unheard: list[Callable[[Sequence[UUID]], None]] = []

    @contextmanager
    def listening(
        self,
        device_id: UUID,
        listener: Listener,
        token_hash: bytes | None = None,
        *,
        is_poll: bool = False,
    ) -> Iterator[None]:
        """Listen in this block, in the place of whoever of this kind listened for the mailbox before.

        token_hash: of the token that the listener came with (`Caller.token_hash`); it ends when that is
        replaced.
        """
        token = None if token_hash is None else token_hash[:TOKEN_MARK]
        name, since = secrets.token_bytes(8), self._clock().timestamp()
        seat = ListenerSlot(listener, token, name, since, is_poll)
        kind = self._polls if is_poll else self._sockets
        with self._lock:
            older = kind.get(device_id)
            kind[device_id] = seat
        if older is not None:
            older.listener.close(CloseCode.REPLACED)
        self._tell_bus(device_id)
        try:
            yield
        finally:
            with self._lock:
                left = kind.get(device_id) is seat
                if left:
                    del kind[device_id]
            if left:
                self._tell_bus(device_id)

    def _tell_bus(self, device_id: UUID) -> None:
        if self.bus is not None:
            self.bus.listening_changed(device_id)

    def seats_of(self, device_id: UUID) -> Sequence[ListenerSlot]:
        """Give the listeners of a device in this process: its socket, its long poll, both or none."""
        found = self._sockets.get(device_id), self._polls.get(device_id)
        return [seat for seat in found if seat is not None]

    def seats(self) -> dict[UUID, Sequence[ListenerSlot]]:
        """Give all listeners of this process by device, as of now."""
        with self._lock:
            found: dict[UUID, Sequence[ListenerSlot]] = {
                device_id: (seat,) for device_id, seat in self._sockets.items()
            }
            for device_id, seat in self._polls.items():
                found[device_id] = (*found.get(device_id, ()), seat)
        return found

    def stored(
        self, deliveries: Mapping[UUID, Sequence[Delivery]], urgent: Collection[UUID] = ()
    ) -> None:
        """Tell what was stored, after the commit.

        urgent: those of the devices that are woken in another way (`unheard`) when nobody listens.
        """
        unheard = []
        for device_id, of_device in deliveries.items():
            seq = of_device[-1].seq if of_device else 0
            socket, poll = self._sockets.get(device_id), self._polls.get(device_id)
            for seat in (socket, poll):
                if seat is not None:
                    seat.told = max(seat.told, seq)
                    seat.listener.wake(of_device)
            is_urgent = device_id in urgent and socket is None and poll is None
            if self.bus is not None and _may_be_elsewhere(socket):
                self.bus.publish(device_id, Stored(seq, is_urgent))
            elif self.bus is None and is_urgent:
                unheard.append(device_id)
        self.tell_unheard(unheard)

    def tell_unheard(self, device_ids: Sequence[UUID]) -> None:
        """Have devices woken in another way."""
        if device_ids:
            for wake in self.unheard:
                wake(device_ids)

    def ask(self, device_id: UUID, heard: Callable[[bool], None]) -> None:
        """Find out whether somebody listens for a device, here or elsewhere.

        heard: called with the answer, perhaps in another thread, and must not wait.
        """
        if self.seats_of(device_id):
            heard(True)
        elif self.bus is None:
            heard(False)
        else:
            self.bus.ask(device_id, heard)

    def signal(self, device_id: UUID, signal: Signal) -> None:
        """Pass an ephemeral envelope on to the open socket; it is gone when there is none."""
        seat = self._sockets.get(device_id)
        if seat is not None:
            seat.listener.receive(signal)
        elif self.bus is not None:
            self.bus.publish(device_id, Passed(signal))

    def notice(self, device_id: UUID, notice: Notice) -> None:
        """Pass a hint on to the open socket."""
        seat = self._sockets.get(device_id)
        if seat is not None:
            seat.listener.notice(notice)
        elif self.bus is not None:
            self.bus.publish(device_id, _hint(notice))

    def acknowledged(self, device_id: UUID, through: int) -> None:
        """Tell the open socket what its device acknowledged over HTTP, which makes room in its window."""
        seat = self._sockets.get(device_id)
        if seat is not None:
            seat.listener.acknowledged(through)
        elif self.bus is not None:
            self.bus.publish(device_id, Emptied(through))

    def close(self, device_id: UUID, why: CloseCode, unless_token: bytes | None = None) -> None:
        """End whoever listens for a device, here and elsewhere.

        unless_token: hash of the token with which a listener stays.
        """
        for seat in self.seats_of(device_id):
            if seat.holds_other_than(unless_token):
                seat.listener.close(why)
        if self.bus is not None:
            mark = None if unless_token is None else unless_token[:TOKEN_MARK]
            self.bus.publish(device_id, Close(why, mark))

    def hear(self, device_id: UUID, hint: Hint) -> None:
        """Take what another process, or this one, said over the bus."""
        seats = self.seats_of(device_id)
        if isinstance(hint, Arrived):
            self._meet(device_id, seats, hint)
        elif isinstance(hint, Stored) and hint.urgent and not seats:
            # It left just now, and was counted among those who hear it.
            self.tell_unheard([device_id])
        for seat in seats:
            self._take(seat, hint)

    def _take(self, seat: ListenerSlot, hint: Hint) -> None:
        match hint:
            case Stored():
                # What it was told already, this process stored itself.
                if not hint.seq or hint.seq > seat.told:
                    seat.told = max(seat.told, hint.seq)
                    seat.listener.wake(())
            case Emptied():
                seat.listener.acknowledged(hint.through)
            case Passed():
                # A bus that stood still gives out what it held when it goes on.
                if hint.signal.expires_at > self._clock():
                    seat.listener.receive(hint.signal)
            case Low() | Changed() | LeftOut() | Unlocking():
                seat.listener.notice(hint.notice)
            case Close():
                if seat.holds_other_than(hint.unless_token):
                    seat.listener.close(hint.why)

    def _meet(self, device_id: UUID, seats: Sequence[ListenerSlot], other: Arrived) -> None:
        """Meet the announcement of a listener: of this one, of a rival, or of one of the other kind."""
        own = [seat for seat in seats if seat.name == other.name]
        for seat in own:
            seat.announced = True
        for seat in () if own else seats:
            if seat.is_poll and not other.is_poll:
                # The socket's process has to know that this poll is to be told too.
                self._announce_again(device_id, seat)
            elif other.is_poll and not seat.is_poll:
                seat.polled_until = time.monotonic() + POLL_SECONDS
            elif seat.is_older_than(other):
                seat.listener.close(CloseCode.REPLACED)
            elif other.again or seat.since - other.since > SKEW:
                # The other one did not hear of this newer one.
                self._announce_again(device_id, seat)

    def _announce_again(self, device_id: UUID, seat: ListenerSlot) -> None:
        if self.bus is not None:
            self.bus.publish(device_id, seat.arrival(again=True))


def _may_be_elsewhere(socket: ListenerSlot | None) -> bool:
    """Say whether another process may have a listener, when this one has a device's socket or none."""
    if socket is None:
        return True
    return socket.polled_until > 0 and socket.polled_until > time.monotonic()


def _hint(notice: Notice) -> Hint:
    """Write a hint to a listener as it goes to other processes."""
    match notice:
        case KeysLowNotice():
            return Low(notice)
        case GroupChangedNotice():
            return Changed(notice)
        case MissedNotice():
            return LeftOut(notice)
        case LockRemovalNotice():
            return Unlocking(notice)
