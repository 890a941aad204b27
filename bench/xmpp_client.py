"""A client of XMPP that costs as little as it can, so that a bench measures the server.

One connection: it writes stanzas by hand and returns received bytes for others to count. It parses no XML and
speaks no TLS: it is for a server of the bench's own, on the loopback.
"""

import base64
import re
import socket
from collections.abc import Sequence

HOST = "localhost"
_OPEN = (
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    f" to='{HOST}' version='1.0'>"
).encode()
_AUTH = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>"
_BIND = b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
_MESSAGE = b"<message type='chat' id='%d' to='%s'><body>%s</body></message>"
_PING = b"<iq type='get' id='%d' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>"
_END_OF_MESSAGE = b"</message>"
_PONG = re.compile(rb"<iq [^>]*\bid='(\d+)'")
_REFUSED = re.compile(rb"<failure|<stream:error|type='error'")


def messages(data: bytes) -> int:
    """Count the messages in what came."""
    return data.count(_END_OF_MESSAGE)


def pongs(data: bytes) -> list[int]:
    """Give the numbers of the pings that were answered."""
    return [int(number) for number in _PONG.findall(data)]


class Client:
    """Somebody who has logged in (RFC 6120) and may write; messages come once she is available."""

    def __init__(self, address: tuple[str, int], name: str, password: str) -> None:
        self.name = name
        self._rest = b""
        self.wire = socket.create_connection(address, timeout=60)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain = base64.b64encode(f"\0{name}\0{password}".encode())
        self._ask(_OPEN, b"</stream:features>")
        self._ask(_AUTH % plain, b"<success")
        self._ask(_OPEN, b"</stream:features>")
        self._ask(_BIND, b"</iq>")

    def _ask(self, question: bytes, answer: bytes) -> None:
        self.wire.sendall(question)
        found = b""
        while answer not in found:
            found += self.receive()

    def become_available(self) -> int:
        """Have messages delivered from now on; give how many came until the server answered."""
        self.wire.sendall(b"<presence/>")
        self.ping(0)
        found = self.receive()
        while not pongs(found):
            found += self.receive()
        return messages(found)

    def send(self, names: Sequence[str], body: bytes, first: int, number: int) -> None:
        """Write messages that are numbered from `first` and have one body, to people in turn."""
        jids = [f"{name}@{HOST}".encode() for name in names]
        numbers = range(first, first + number)
        self.wire.sendall(b"".join([_MESSAGE % (n, jids[n % len(jids)], body) for n in numbers]))

    def ping(self, number: int) -> None:
        """Ask the server to answer when it has dealt with what came before (XEP-0199)."""
        self.wire.sendall(_PING % (number, HOST.encode()))

    def receive(self) -> bytes:
        """Wait for bytes and give them up to the end of a tag, so that none is cut; a refusal raises."""
        data = self.wire.recv(262_144)
        if not data:
            raise ConnectionResetError("the server hung up")
        data = self._rest + data
        end = data.rfind(b">") + 1
        self._rest = data[end:]
        if _REFUSED.search(data):
            raise RuntimeError(f"refused: {data.decode()}")
        return data[:end]
