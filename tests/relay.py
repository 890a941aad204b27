"""A link that can be cut: passes TCP connections on, and can lose everything without a word, or hang up."""

import socket
import threading

from tests.postgresql import free_port


class Relay:
    """Listens on 127.0.0.1 and passes on to a port there.

    Its kernel acknowledges what a cut link takes: to lose packets needs more rights than a test has.
    """

    def __init__(self, to: int) -> None:
        self.port = free_port()
        self._to = to
        self._cut = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            if self._cut.is_set():
                self._pairs.append((inner, inner))
                continue
            outer = socket.create_connection(("127.0.0.1", self._to))
            self._pairs.append((inner, outer))
            for source, sink in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                if not self._cut.is_set():
                    sink.sendall(data)
        except OSError:
            pass
        if not self._cut.is_set():
            # Whoever hears of the end of one side hears of it at the other.
            _close(source, sink)

    def cut(self) -> None:
        """Lose everything from now on, and tell nobody."""
        self._cut.set()

    def mend(self) -> None:
        """Pass on what comes over new connections; the old ones stay lost."""
        self._cut.clear()

    def hang_up(self) -> None:
        """End every connection that is open."""
        for pair in self._pairs:
            _close(*pair)
        self._pairs.clear()

    def close(self) -> None:
        """End everything."""
        self._listener.close()
        self.hang_up()


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        one.close()
