"""The gunicorn worker: one greenlet per connection, time-outs on every wait, and a lossless stop."""

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

#: Seconds between two heartbeats to the master, which kills a worker that sends none.
ALIVE_SECONDS = 1.0
#: Seconds before the master's time-out at which a worker gives up on running requests.
LAST_SECONDS = 1.0
#: Seconds until every worker has closed its listener; a client that reconnects earlier could reach one that
#: stops too.
OTHERS_SECONDS = 0.2
#: File descriptors that are not client connections: database, log, providers.
OTHER_FILES = 256


class Served(Protocol):
    """The application, as the worker sees it."""

    settings: CoreSettings
    runtime: Runtime

    def end_polls(self) -> None:
        """Answer long polls."""

    def end_sockets(self) -> None:
        """Close the sockets of the stream."""


class KithWorker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves HTTP/1.1 to thousands of connections."""

    #: Whether it has stopped.
    has_ended = False
    connections: Connections
    app_services: Served

    def init_signals(self) -> None:
        """Handle SIGTERM at once: Python's own handlers wait for the loop's next iteration."""
        super().init_signals()
        self._stop_asked = Event()
        self._stop_handler = gevent.signal_handler(signal.SIGTERM, self._ask_to_stop)

    def _ask_to_stop(self) -> None:
        self.alive = False
        self._stop_asked.set()

    def handle_exit(self, sig: int, frame: object) -> None:
        """Stop, for a signal before the loop runs."""
        self.alive = False

    def run(self) -> None:
        """Serve until SIGTERM, then stop gracefully."""
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
            # Accept one at a time, so that workers share the load.
            server.max_accept = 1
        server.start()
        return server

    def _end(self, servers: list[StreamServer], watch: Any) -> None:
        """Finish what has arrived, and stop.

        First close the listeners, then end long polls and idle connections. When no worker listens any more,
        close the WebSockets: clients then reconnect to another process.
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
                    "%s connections are cut: the time to stop is over", len(self.connections)
                )
                return

    def handle(self, listener: Any, client: Any, address: Any) -> None:
        """Serve a connection until it closes."""
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
        """Serve requests one after the other."""
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
            # One side closed the connection.
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
        """Decide once, when the head of a response is written, whether it is the connection's last.

        gunicorn decides before the application runs, so a long poll that a stop ends would keep it open.
        """

        @cache
        def is_last() -> bool:
            return asks_to_close() or not self.alive

        return is_last

    def _refuse(self, connection: Connection, status: HTTPStatus) -> None:
        """Answer a malformed request. Count it but do not log it: strangers could fill the disk."""
        self.app_services.runtime.metrics.refused_connections.labels(
            f"answered-{status.value}"
        ).inc()
        with suppress(OSError):
            refuse(connection, status)


def _take_queued(server: StreamServer) -> None:
    """Accept what the kernel has queued; closing the listener would reset it."""
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
    """Return a check for trusted proxies; every peer of a unix socket is one."""
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
