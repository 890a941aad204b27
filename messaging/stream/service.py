"""The open sockets of this process: serves each from its first frame to its last, logs and counts them."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from messaging.mailbox.service import MessageService
from messaging.message_types import CloseCode, Notice
from messaging.metrics import MessagingMetrics
from messaging.stream.codecs import Codec
from messaging.stream.frames import ReadyFrame
from messaging.stream.outbound_queue import OutboundQueue
from messaging.stream.signals import SignalService
from messaging.stream.stream import STOPPING, Stream, StreamEnd
from messaging.stream.websocket import Transport, WebSocket
from messaging.stream.window import MAX_UNACKNOWLEDGED
from tokens.devices import Caller

log = structlog.get_logger()


@dataclass(eq=False)
class StreamService:
    """Serves sockets."""

    messages: MessageService
    signals: SignalService
    clock: Callable[[], datetime]
    metrics: MessagingMetrics
    #: Bytes of a WebSocket message.
    max_message_bytes: int
    #: Seconds of silence after which a peer is pinged; after as many more it is gone.
    ping_interval: float
    #: Each returns notices that a device's new socket begins with.
    notice_sources: Sequence[Callable[[Caller], Sequence[Notice]]]
    #: Called with a device whose last socket ended, and whether because this process stops.
    on_left: Callable[[UUID, bool], None]
    _streams: set[Stream] = field(default_factory=set, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _stopping: bool = field(default=False, init=False)

    def serve(
        self, caller: Caller, codec: Codec, transport: Transport, request_id: str, head: bytes
    ) -> None:
        """Serve a connection whose handshake was accepted until it ends.

        head: the answer to the handshake.
        """
        socket = WebSocket(transport, self.max_message_bytes, self.ping_interval)
        queue = OutboundQueue(
            codec,
            self.clock,
            partial(self.messages.page, caller.device_id),
            ReadyFrame(caller.device_id, MAX_UNACKNOWLEDGED, self.max_message_bytes),
            self.pending_notices(caller),
        )
        stream = Stream(
            caller, codec, socket, queue, self.messages, self.signals, self.metrics, request_id
        )
        with self._lock:
            self._streams.add(stream)
        if self._stopping:
            stream.end(STOPPING)
        self.metrics.sockets.inc()
        began = time.monotonic()
        log.info("stream.opened", subprotocol=codec.subprotocol)
        try:
            transport.sendall(head)
            # Registered before the first read of the mailbox, so that no message is missed between.
            with self.messages.registry.register(caller.device_id, stream, caller.token_hash):
                end = stream.run()
            end = stream.end(end)
            self._report_left(caller, end)
            stream.join()
            self._log_end(end, time.monotonic() - began)
        finally:
            self.metrics.sockets.dec()
            with self._lock:
                self._streams.discard(stream)

    def pending_notices(self, caller: Caller) -> list[Notice]:
        """Return the notices that a new socket of a device begins with."""
        return [notice for source in self.notice_sources for notice in source(caller)]

    def _report_left(self, caller: Caller, end: StreamEnd) -> None:
        """Report that a device has no listener any more, unless it was replaced or revoked."""
        if end.code in (CloseCode.REPLACED, CloseCode.REVOKED):
            return
        if not self.messages.registry.slots_of(caller.device_id):
            self.on_left(caller.device_id, end is STOPPING)

    def _log_end(self, end: StreamEnd, seconds: float) -> None:
        by = str(int(end.code)) if end.by == "service" else end.by
        self.metrics.closed_sockets.labels(by).inc()
        log.info(
            "stream.closed",
            code=int(end.code),
            reason=end.reason,
            by=end.by,
            seconds=round(seconds, 1),
        )

    def stop(self) -> None:
        """End all sockets, and those that are just being opened; never waits."""
        self._stopping = True
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.end(STOPPING)
