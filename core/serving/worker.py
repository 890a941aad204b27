"""The gunicorn worker: one greenlet a connection, with bounds on each wait, and a stop that loses nothing."""

import ipaddress
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, lru_cache, partial
from http import HTTPStatus
from typing import Any, Protocol

import gevent
from gevent.event import Event
from gevent.server import StreamServer
from gunicorn import http, util
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.ggevent import GeventWorker

from core.runtime import Runtime
from core.serving.body import RequestBody
from core.serving.connection import Connection
from core.serving.connections import ConnectionLimits, Connections
from core.serving.error_responses import refuse, status_of
from core.serving.files import raise_file_limit
from core.serving.log import RedactedStream
from core.settings import CoreSettings

#: Seconds between two signs of life to the master, which ends a worker that gives none.
ALIVE_SECONDS = 1.0
#: Seconds before the master's patience ends in which a worker gives up on what is still running.
LAST_SECONDS = 1.0
#: Seconds until every worker has closed its listener; who reconnected before would meet one that stops too.
OTHERS_SECONDS = 0.2
#: File descriptors that are no connections: the database's, the log's, those to providers.
OTHER_FILES = 256


class Served(Protocol):
    """What a worker needs to know of the application."""

    settings: CoreSettings
    runtime: Runtime

    def end_polls(self) -> None:
        """Answer whoever waits for messages."""

    def end_sockets(self) -> None:
        """Close the sockets of the stream."""


class KithWorker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves HTTP/1.1 to thousands of connections."""

    #: Whether it was told to stop and has; nothing of it is needed any more.
    has_ended = False
    connections: Connections
    app_services: Served

    def init_signals(self) -> None:
        """Hear of a stop at once: Python's own handlers wait for the loop's next round."""
        super().init_signals()
        self._stop_asked = Event()
        self._stop_handler = gevent.signal_handler(signal.SIGTERM, self._ask_to_stop)

    def _ask_to_stop(self) -> None:
        self.alive = False
        self._stop_asked.set()

    def handle_exit(self, sig: int, frame: object) -> None:
        """Stop; for whoever raises the signal before the loop runs."""
        self.alive = False

    def run(self) -> None:
        """Serve until told to stop, and end well."""
        sys.stderr = RedactedStream(sys.stderr)
        self.app_services = self.wsgi.extensions["kith"]
        settings = self.app_services.settings
        self._metrics_port = settings.metrics_port
        refused = self.app_services.runtime.metrics.refused_connections
        self.connections = Connections(
            _bounds(settings),
            _trusted(settings.trusted_proxies),
            lambda reason: refused.labels(reason).inc(),
        )
        servers = [self._listen(listener) for listener in self.sockets]
        watch = gevent.spawn(self.connections.watch)
        while self.alive:
            self.notify()
            self._stop_asked.wait(ALIVE_SECONDS)
        self._end(servers, watch)
        self.has_ended = True

    def _listen(self, listener: Any) -> StreamServer:
        listener.setblocking(1)
        server = StreamServer(listener, handle=partial(self.handle, listener))
        if self.cfg.workers > 1:
            # Each takes one at a time, so that they share what comes.
            server.max_accept = 1
        server.start()
        return server

    def _end(self, servers: list[StreamServer], watch: Any) -> None:
        """Serve what has come, and nothing more.

        First nobody new is let in, then waiting is over for polls and for connections without a request, and
        when no worker listens any more the sockets end: whoever connects again meets another process.
        """
        ends = time.monotonic() + max(self.cfg.graceful_timeout - LAST_SECONDS, 1.0)
        for server in servers:
            _take_queued(server)
            server.close()
        self.connections.stop()
        watch.kill(block=False)
        gevent.spawn(self.connections.watch)
        self.app_services.end_polls()
        gevent.sleep(OTHERS_SECONDS)
        self.app_services.end_sockets()
        while not self.connections.await_end(ALIVE_SECONDS):
            self.notify()
            if time.monotonic() >= ends:
                self.log.warning(
                    "%s connections are cut off: the time to stop is over", len(self.connections)
                )
                return

    def handle(self, listener: Any, client: Any, address: Any) -> None:
        """Serve a connection until it ends."""
        host = address[0] if isinstance(address, tuple) else ""
        connection = self.connections.admit(client, host)
        if connection is None:
            util.close(client)
            return
        name = listener.getsockname()
        connection.serves_metrics = isinstance(name, tuple) and name[1] == self._metrics_port
        try:
            self._serve(name, connection, address)
        finally:
            self.connections.leave(connection)
            connection.close()

    def _serve(self, name: Any, connection: Connection, address: Any) -> None:
        """Answer one request after the other."""
        parser = http.get_parser(self.cfg, connection, address)
        request = None
        try:
            while True:
                request = None
                connection.await_request(
                    self.cfg.keepalive, has_begun=bool(parser.unreader.buf.tell())
                )
                request = next(parser)
                request.proxy_protocol_info = {}
                request.body = RequestBody(request.body, request)
                request.should_close = self._judged_once(request.should_close)
                connection.serve()
                self.handle_request(name, request, connection, address)
                if not request.body.drain():
                    break
        except StopIteration:
            # Either side has said that this is the end.
            pass
        except NoMoreData:
            if connection.was_cut:
                self._refuse(connection, HTTPStatus.REQUEST_TIMEOUT)
        except OSError as error:
            self.log.debug("A connection ended: %s", type(error).__name__)
        except Exception as error:
            status = status_of(error)
            if status is HTTPStatus.INTERNAL_SERVER_ERROR:
                self.log.error("A request failed outside the application", exc_info=error)
            self._refuse(connection, status)
            connection.linger()
        else:
            connection.linger()
        if request is not None and not connection.is_socket and request.body.is_unread:
            connection.linger()

    def _judged_once(self, asks_to_close: Callable[[], bool]) -> Callable[[], bool]:
        """Judge whether an answer is the last of its connection when its head is written, and keep to it.

        gunicorn judges it before the application runs, so a long poll that a stop ends would promise more.
        """

        @cache
        def is_last() -> bool:
            return asks_to_close() or not self.alive

        return is_last

    def _refuse(self, connection: Connection, status: HTTPStatus) -> None:
        """Answer what is no request. It is counted and not logged: strangers could fill the disk."""
        self.app_services.runtime.metrics.refused_connections.labels(
            f"answered-{status.value}"
        ).inc()
        with suppress(OSError):
            refuse(connection, status)


def _take_queued(server: StreamServer) -> None:
    """Take what the kernel has accepted already; closing the listener would reset it."""
    while args := server.do_read():
        server.do_handle(*args)


def _bounds(settings: CoreSettings) -> ConnectionLimits:
    return ConnectionLimits(
        settings.max_connections,
        raise_file_limit() - OTHER_FILES,
        settings.connections_per_address,
        settings.connections_per_device,
        settings.max_unread_bytes,
        settings.head_seconds,
    )


def _trusted(networks: tuple[str, ...]) -> Callable[[str], bool]:
    """Say which addresses are proxies of ours; all over a unix socket are."""
    trusted = [ipaddress.ip_network(network) for network in networks]

    @lru_cache(4096)
    def is_trusted(address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return True
        mapped = getattr(ip, "ipv4_mapped", None)
        return any((mapped or ip) in network for network in trusted)

    return is_trusted
