"""One socket of the stream: handles the frames of a device until it ends.

One thread reads, another writes what waits in the outbound queue. Invalid messages end the socket; a valid
frame that cannot be done is refused by an answer.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import structlog
from msgspec import UNSET
from sqlalchemy.exc import SQLAlchemyError
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from core.problems import InvalidFields, Problem
from messaging.mailbox.service import MessageService
from messaging.message_types import AcceptedMessage, CloseCode
from messaging.metrics import MessagingMetrics
from messaging.stream.codecs import Codec
from messaging.stream.frames import (
    AcceptedFrame,
    AckedFrame,
    AckFrame,
    EphemeralFrame,
    Frame,
    FrameReference,
    InvalidFrame,
    PingFrame,
    PongFrame,
    SendFrame,
    refused_frame,
)
from messaging.stream.outbound_queue import OutboundQueue
from messaging.stream.signals import SignalService
from messaging.stream.websocket import CLOSE_SECONDS, ProtocolViolation, WebSocket
from tokens.devices import Caller

log = structlog.get_logger()

REASONS = {
    CloseCode.REPLACED: "a newer socket of this device",
    CloseCode.TOKEN_REPLACED: "the token was replaced by a newer one",
    CloseCode.REVOKED: "the device was removed, or its token revoked",
    CloseCode.NUMBER_CHANGED: "the number of the account, or the database, changed; connect again",
}


class StreamEnd(NamedTuple):
    """Why a socket ended, and by whom: "service", "client", or "nobody" when the connection was lost."""

    code: int
    reason: str
    by: str


LOST = StreamEnd(CloseReason.ABNORMAL_CLOSURE, "the connection was lost", "nobody")
FAILED = StreamEnd(CloseReason.INTERNAL_ERROR, "an internal error", "service")
TOO_SLOW = StreamEnd(CloseReason.TRY_AGAIN_LATER, "too slow: it does not read", "service")
STOPPING = StreamEnd(CloseReason.GOING_AWAY, "the server stops", "service")


@dataclass(eq=False)
class Stream:
    """The socket of a device, and a listener in the registry."""

    caller: Caller
    codec: Codec
    socket: WebSocket
    queue: OutboundQueue
    messages: MessageService
    signals: SignalService
    metrics: MessagingMetrics
    request_id: str
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _end: StreamEnd | None = field(default=None, init=False)
    _abort_timer: threading.Timer | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Let the queue receive directly what the registry delivers."""
        self.on_stored = self.queue.on_stored
        self.on_signal = self.queue.on_signal
        self.on_notice = self.queue.on_notice
        self.on_acknowledged = self.queue.on_acknowledged
        self._writer = threading.Thread(target=self._write, name="stream", daemon=True)

    def run(self) -> StreamEnd:
        """Read until it ends, and write meanwhile; return why it ends."""
        self._writer.start()
        return self._read()

    def join(self) -> None:
        """Wait until the writer is done and the peer has read the close frame."""
        self._writer.join()
        if self._abort_timer is not None:
            self.socket.drain()
            self._abort_timer.cancel()

    def close(self, code: CloseCode) -> None:
        """End it, as a listener."""
        self.end(StreamEnd(code, REASONS[code], "service"))

    def end(self, end: StreamEnd) -> StreamEnd:
        """End it within a second, even when the peer does not read; never waits.

        Returns why it ends, which is an earlier reason when it was ending already.
        """
        with self._lock:
            if self._end is not None:
                return self._end
            self._end = end
        if end.by == "service":
            self._abort_timer = threading.Timer(CLOSE_SECONDS, self.socket.abort)
            self._abort_timer.daemon = True
            self._abort_timer.start()
        else:
            self.socket.abort()
        self.queue.stop()
        return end

    def _write(self) -> None:
        try:
            while self._end is None:
                self.queue.wait()
                while frames := self.queue.take():
                    self.socket.send(self.codec.encode(frames))
                    self._count("out", frames)
        except TimeoutError:
            self.end(TOO_SLOW)
        except (OSError, LocalProtocolError):
            self.end(LOST)
        except SQLAlchemyError as error:
            log.error("database.failed", error=type(error).__name__)
            self.end(FAILED)
        except Exception as error:
            log.error("unexpected", exc_info=error)
            self.end(FAILED)
        if self._end is not None and self._end.by == "service":
            self.socket.close(self._end.code, self._end.reason)

    def _read(self) -> StreamEnd:
        try:
            for data in self.socket.messages():
                if self._end is not None:
                    return self._end
                self._handle(data)
        except ProtocolViolation as violation:
            return StreamEnd(violation.code, violation.reason, "service")
        except OSError:
            return LOST
        except Exception as error:
            log.error("unexpected", exc_info=error)
            return FAILED
        return StreamEnd(CloseReason.NORMAL_CLOSURE, "", "client")

    def _count(self, direction: str, frames: Sequence[object]) -> None:
        for kind, number in Counter(map(type, frames)).items():
            name = kind.__struct_config__.tag if issubclass(kind, Frame) else "invalid"
            self.metrics.frames.labels(direction, name).inc(number)

    def _handle(self, data: str | bytes) -> None:
        frames = self.codec.decode(data)
        self._count("in", frames)
        for frame in frames:
            if not isinstance(frame, EphemeralFrame):
                self.queue.expect_answer()
            match frame:
                case SendFrame():
                    self._send(frame)
                case AckFrame(through=through):
                    done = partial(self._acknowledged, through)
                    self.messages.submit_acknowledgement(self.caller.device_id, through, done)
                case PingFrame():
                    self.queue.answer(PongFrame(UNSET if frame.id is None else frame.id))
                case EphemeralFrame():
                    self._send_signal(frame)
                case InvalidFrame():
                    self._refuse(frame.problem, frame.reference)
        self.queue.await_room()

    def _refuse(self, problem: Problem, reference: FrameReference) -> None:
        self.queue.answer(refused_frame(problem, self.request_id, reference))

    def _send(self, frame: SendFrame[Any, Any]) -> None:
        try:
            outgoing = self.codec.outgoing(frame, self.caller)
        except InvalidFields as problem:
            self._refuse(problem, FrameReference("send", frame.client_id))
        else:
            self.messages.submit(outgoing, partial(self._sent, frame.client_id))

    def _sent(self, client_id: str, result: AcceptedMessage | Problem) -> None:
        if isinstance(result, Problem):
            self._refuse(result, FrameReference("send", client_id))
        else:
            self.queue.answer(AcceptedFrame(client_id, result.id, result.accepted_at))

    def _acknowledged(self, through: int, problem: Problem | None) -> None:
        if problem is not None:
            self._refuse(problem, FrameReference("ack"))
            return
        self.queue.on_acknowledged(through)
        self.queue.answer(AckedFrame(through))

    def _send_signal(self, frame: EphemeralFrame[Any]) -> None:
        """Pass a signal on; only a refusal is answered."""
        decode = self.codec.decode_content
        contents = {one.device_id: decode(one.content) for one in frame.envelopes}
        try:
            self.signals.send(self.caller, frame.to, contents, frame.expires_in)
        except Problem as problem:
            self.queue.expect_answer()
            self._refuse(problem, FrameReference("ephemeral"))
