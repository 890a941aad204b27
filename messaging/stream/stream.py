"""One socket of the stream: what a device asks for and is told over it, until it ends.

Owns what each frame of a client does, and how a socket ends. One thread reads, one writes what has gathered
in the outlet (`outlet.py`). Refuses garbage by ending, and by an answer what is well formed but cannot be
done.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from core.problems import InvalidFields, Problem
from messaging.mailbox.service import MessageService
from messaging.message_types import AcceptedMessage, CloseCode
from messaging.stream import frames
from messaging.stream.codecs import Codec, NotAFrame
from messaging.stream.frames import (
    Acknowledge,
    Ephemeral,
    Fault,
    Frame,
    Name,
    Ping,
    Send,
)
from messaging.stream.outbound_queue import OutboundQueue
from messaging.stream.signals import SignalService
from messaging.stream.websocket import LAST_SECONDS, Violation, WebSocket
from tokens.devices import Caller

log = structlog.get_logger()

REASONS = {
    CloseCode.REPLACED: "a newer socket of this device",
    CloseCode.TOKEN_REPLACED: "the token was replaced by a newer one",
    CloseCode.REVOKED: "the device was removed, or its token revoked",
    CloseCode.NUMBER_CHANGED: "what you are known by, or the database, changed; connect again",
}


class Ending(NamedTuple):
    """Why a socket ended, and by whom: "service", "client", or "nobody" when the connection was lost."""

    code: int
    reason: str
    by: str


LOST = Ending(CloseReason.ABNORMAL_CLOSURE, "the connection was lost", "nobody")
BROKEN = Ending(CloseReason.INTERNAL_ERROR, "something went wrong on our side", "service")
TOO_SLOW = Ending(CloseReason.TRY_AGAIN_LATER, "too slow: it does not read", "service")
STOPPING = Ending(CloseReason.GOING_AWAY, "the server stops", "service")


#: Counts frames that came "in" or went "out".
Count = Callable[[str, Sequence[object]], None]


class Stream:
    """The socket of a device."""

    def __init__(
        self,
        caller: Caller,
        form: Codec,
        socket: WebSocket,
        outlet: OutboundQueue,
        messages: MessageService,
        signals: SignalService,
        count: Count,
        left: Callable[[Ending], None],
        request_id: str,
    ) -> None:
        self._caller = caller
        self._form = form
        self._socket = socket
        self._outlet = outlet
        self._messages = messages
        self._signals = signals
        self._count = count
        self._left = left
        self._request_id = request_id
        self._lock = threading.Lock()
        self._ending: Ending | None = None
        self._last_timer: threading.Timer | None = None
        # What a listener hears goes past this object.
        self.wake = outlet.wake
        self.receive = outlet.receive
        self.notice = outlet.notice
        self.acknowledged = outlet.acknowledged

    def run(self) -> Ending:
        """Serve until it ends, and say why."""
        writer = threading.Thread(target=self._write, name="stream", daemon=True)
        # Listening comes before the first look into the mailbox, so nothing is missed between.
        caller = self._caller
        with self._messages.wakeups.listening(caller.device_id, self, caller.token_hash):
            writer.start()
            ending = self._read()
        ending = self.end(ending)
        self._left(ending)
        writer.join()
        if self._last_timer is not None:
            self._socket.drain()
            self._last_timer.cancel()
        return ending

    def close(self, why: CloseCode) -> None:
        """End it from elsewhere."""
        self.end(Ending(why, REASONS[why], "service"))

    def end(self, ending: Ending) -> Ending:
        """End it within a second, even when the peer does not read.

        Never waits. Gives why it ends, which is another reason when it was ending already.
        """
        with self._lock:
            if self._ending is not None:
                return self._ending
            self._ending = ending
        if ending.by == "service":
            self._last_timer = threading.Timer(LAST_SECONDS, self._socket.abort)
            self._last_timer.daemon = True
            self._last_timer.start()
        else:
            self._socket.abort()
        self._outlet.stop()
        return ending

    def _write(self) -> None:
        try:
            while self._ending is None:
                self._outlet.wait()
                while said := self._outlet.gather():
                    self._socket.send(self._form.write(said))
                    self._count("out", said)
        except TimeoutError:
            self.end(TOO_SLOW)
        except (OSError, LocalProtocolError):
            self.end(LOST)
        except SQLAlchemyError as error:
            log.error("database.failed", error=type(error).__name__)
            self.end(BROKEN)
        except Exception as error:
            log.error("unexpected", exc_info=error)
            self.end(BROKEN)
        if self._ending is not None and self._ending.by == "service":
            self._socket.close(self._ending.code, self._ending.reason)

    def _read(self) -> Ending:
        try:
            for data in self._socket.messages():
                if self._ending is not None:
                    return self._ending
                self._take(data)
        except (NotAFrame, Violation) as garbage:
            return Ending(garbage.code, garbage.reason, "service")
        except OSError:
            return LOST
        except Exception as error:
            log.error("unexpected", exc_info=error)
            return BROKEN
        return Ending(CloseReason.NORMAL_CLOSURE, "", "client")

    def _take(self, data: str | bytes) -> None:
        taken = self._form.read(data)
        self._count("in", taken)
        for frame in taken:
            match frame:
                case Send():
                    self._send(frame)
                case Acknowledge():
                    self._acknowledge(frame.through)
                case Ping():
                    self._say(frames.pong(frame))
                case Ephemeral():
                    self._pass_on(frame)
                case Fault():
                    self._refuse(frame.problem, frame.name)
        self._outlet.await_room()

    def _say(self, frame: Frame) -> None:
        self._outlet.expect()
        self._outlet.answer(frame)

    def _refuse(self, problem: Problem, name: Name) -> None:
        self._say(frames.refused(problem, self._request_id, name))

    def _send(self, frame: Send[Any, Any]) -> None:
        try:
            outgoing = self._form.outgoing(frame, self._caller)
        except InvalidFields as problem:
            self._refuse(problem, Name("send", frame.client_id))
            return
        self._outlet.expect()
        self._messages.submit(outgoing, partial(self._sent, frame.client_id))

    def _sent(self, client_id: str, done: AcceptedMessage | Problem) -> None:
        self._outlet.answer(
            frames.refused(done, self._request_id, Name("send", client_id))
            if isinstance(done, Problem)
            else frames.AcceptedFrame(client_id, done.id, done.accepted_at)
        )

    def _acknowledge(self, through: int) -> None:
        self._outlet.expect()
        self._messages.submit_acknowledgement(
            self._caller.device_id, through, partial(self._acknowledged, through)
        )

    def _acknowledged(self, through: int, problem: Problem | None) -> None:
        if problem is not None:
            self._outlet.answer(frames.refused(problem, self._request_id, Name("ack")))
            return
        self._outlet.acknowledged(through)
        self._outlet.answer(frames.Acknowledged(through))

    def _pass_on(self, frame: Ephemeral[Any]) -> None:
        content = self._form.content
        contents = {one.device_id: content(one.content) for one in frame.envelopes}
        try:
            self._signals.pass_on(self._caller, frame.to, contents, frame.expires_in)
        except Problem as problem:
            self._refuse(problem, Name("ephemeral"))
