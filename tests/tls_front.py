"""TLS in front of a server that speaks none, for tests: everything is passed on, both ways."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Its own authority, and good for 127.0.0.1 only.
CERTIFICATE = Path(__file__).parent / "contract" / "own_certificate.pem"


@contextmanager
def tls_front(port: int) -> Iterator[int]:
    """Serve TLS in this block before a port of the loopback; give the port to connect to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # A client that trusts nobody here hangs up in the middle.
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as client,
                socket.create_connection(("127.0.0.1", port)) as behind,
            ):
                back = threading.Thread(target=_pass_on, args=(behind, client))
                back.start()
                _pass_on(client, behind)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as front:
        thread = threading.Thread(target=front.serve_forever, args=(0.05,))
        thread.start()
        yield front.server_address[1]
        front.shutdown()
        thread.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while octets := source.recv(65536):
            target.sendall(octets)
        target.shutdown(socket.SHUT_RDWR)
