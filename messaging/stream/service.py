"""The open sockets of this process: each is served here from its first frame to its last.

Owns what is logged and counted of them, and that all end when the server stops. Never logs a token.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import structlog

from core.metrics import Metrics
from messaging.mailbox.service import MessageService
from messaging.message_types import CloseCode, Notice
from messaging.settings import MessagingSettings
from messaging.stream.codecs import Codec
from messaging.stream.frames import Frame, Ready
from messaging.stream.outbound_queue import OutboundQueue
from messaging.stream.signals import SignalService
from messaging.stream.stream import STOPPING, Ending, Stream
from messaging.stream.websocket import WebSocket, Wire
from messaging.stream.window import UNACKNOWLEDGED
from tokens.devices import Caller

log = structlog.get_logger()

#: Tells that a device's socket ended, and whether because this process stops.
Leave = Callable[..., None]


class SocketService:
    """Serves sockets."""

    def __init__(
        self,
        messages: MessageService,
        signals: SignalService,
        clock: Callable[[], datetime],
        metrics: Metrics,
        settings: MessagingSettings,
        greet: Callable[[Caller], Sequence[Notice]],
        leave: Leave,
    ) -> None:
        self._messages = messages
        self._signals = signals
        self._clock = clock
        self._metrics = metrics
        #: Bytes of a WebSocket message.
        self._largest = settings.max_body_bytes
        self._greet = greet
        self._leave = leave
        #: Seconds of silence after which a peer is asked whether it is there; as many later it is gone.
        self.patience = settings.ping_interval
        self._open: set[Stream] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def serve(self, caller: Caller, form: Codec, wire: Wire, head: bytes, request_id: str) -> None:
        """Accept a connection whose handshake was agreed to, and serve it until it ends.

        head: the answer to the handshake.
        """
        socket = WebSocket(wire, self._largest, self.patience)
        outlet = OutboundQueue(
            form,
            self._clock,
            lambda after, limit: self._messages.page(caller.device_id, after, limit),
            Ready(caller.device_id, UNACKNOWLEDGED, self._largest),
            self._greet(caller),
        )
        stream = Stream(
            caller,
            form,
            socket,
            outlet,
            self._messages,
            self._signals,
            self._count,
            partial(self._left, caller),
            request_id,
        )
        with self._lock:
            self._open.add(stream)
        if self._stopping:
            stream.end(STOPPING)
        self._metrics.sockets.inc()
        began = time.monotonic()
        log.info("stream.opened", subprotocol=form.subprotocol)
        try:
            socket.accept(head)
            self._log_end(stream.run(), time.monotonic() - began)
        finally:
            self._metrics.sockets.dec()
            with self._lock:
                self._open.discard(stream)

    def _left(self, caller: Caller, ending: Ending) -> None:
        """Tell that a device does not listen any more, unless it does, or is gone itself."""
        if ending.code in (CloseCode.REPLACED, CloseCode.REVOKED):
            return
        if not self._messages.wakeups.seats_of(caller.device_id):
            self._leave(caller.device_id, stopping=ending is STOPPING)

    def _log_end(self, ending: Ending, seconds: float) -> None:
        code = ending.code if ending.by == "service" else ending.by
        self._metrics.closed_sockets.labels(str(code)).inc()
        log.info(
            "stream.closed",
            code=int(ending.code),
            reason=ending.reason,
            by=ending.by,
            seconds=round(seconds, 1),
        )

    def _count(self, direction: str, counted: Sequence[object]) -> None:
        for kind, number in Counter(map(type, counted)).items():
            # A fault is a tuple, every frame has its type as a tag.
            name = kind.__struct_config__.tag if issubclass(kind, Frame) else "fault"
            self._metrics.frames.labels(direction, name).inc(number)

    def stop(self) -> None:
        """End all sockets, and those that are just being opened; never waits."""
        self._stopping = True
        with self._lock:
            streams = list(self._open)
        for stream in streams:
            stream.end(STOPPING)
