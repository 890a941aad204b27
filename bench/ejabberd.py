"""ejabberd beside Kith: the pairs of `bench.messaging`, over XMPP, to an instance of the bench's own.

Debian's package runs in a temporary directory, as any user, with the modules that the load needs, no TLS, no
limits, and the storage it ships with (Mnesia). It ends with this process. A service that the package may have
started is not used or changed.
"""

import base64
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.pairs import CONTENT_SIZE, Pair, drive
from bench.xmpp_client import HOST, Client, messages, pongs

MISSING = "ejabberd, as Debian packages it, is not installed here, so it is not measured beside."
COMPARED = (
    "What is compared: Kith has every message on disk before it is delivered, and counts it once its"
    " recipient's acknowledgement is on disk too. ejabberd passes on what is for people online, stores"
    " none of it, and it counts when it has come. What is for people offline it writes to Mnesia, without"
    " waiting for the disk, and it counts when a ping behind it is answered; delivery is not in that."
)
#: People without a socket that each sender writes to in turn. As ejabberd ships, 100 messages wait for
#: one of them at most; storing one costs the more, the more there are.
OFFLINE_EACH = 10
#: Messages to somebody offline that one ping answers for.
PING_EVERY = 8
READY_SECONDS = 60
STOP_SECONDS = 10
_READY = "everybody is registered"
#: Lives as long as its standard input is open: until whoever started it stops it, or dies.
_BOOT = """
[ok = ejabberd_auth:try_register(integer_to_binary(N), <<"{host}">>, <<"{password}">>)
 || N <- lists:seq(0, {people} - 1)],
spawn(fun() -> io:get_line(""), halt() end),
io:format("{ready}~n").
"""


@dataclass(frozen=True)
class Installation:
    """Where the package has Erlang, and the libraries of ejabberd."""

    erlang: str
    libraries: str


def installation() -> Installation | None:
    """Find ejabberd as Debian installs it; None where it is not."""
    # Where it is, only root has a path to.
    control = shutil.which("ejabberdctl", path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin"]))
    if control is None:
        return None
    # ejabberdctl itself runs as root or as the package's user only.
    script = Path(control).read_text()
    erlang = re.search(r"""^ERL=["'](/[^"']+)["']$""", script, re.MULTILINE)
    libraries = re.search(r"""^ERL_LIBS=["'](/[^"']+)["']$""", script, re.MULTILINE)
    return Installation(erlang[1], libraries[1]) if erlang and libraries else None


@dataclass(frozen=True)
class _Server:
    process: subprocess.Popen[bytes]
    address: tuple[str, int]
    password: str

    @contextmanager
    def connected(self, name: str) -> Iterator[Client]:
        client = Client(self.address, name, self.password)
        with closing(client.wire):
            yield client


def measure(
    installed: Installation, pairs: int, ahead: int, seconds: float
) -> list[dict[str, Any]]:
    """Let so many people write to some who are offline, and then to somebody who is online."""
    with _served(installed, pairs * (2 + OFFLINE_EACH)) as server:
        # In this order: what is under way when people go offline is stored for them.
        offline = _to_offline(server, pairs, ahead, seconds)
        online = _to_online(server, pairs, ahead, seconds)
    return [{"codec": "ejabberd online", **online}, {"codec": "ejabberd offline", **offline}]


def _to_online(server: _Server, pairs: int, ahead: int, seconds: float) -> dict[str, Any]:
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connected(str(n))) for n in range(2 * pairs)]
        senders, recipients = clients[:pairs], clients[pairs:]
        for recipient in recipients:
            recipient.become_available()
        writing = [_ToOnline(*both, ahead) for both in zip(senders, recipients, strict=True)]
        return drive(writing, server.process.pid, seconds)


def _to_offline(server: _Server, pairs: int, ahead: int, seconds: float) -> dict[str, Any]:
    others = [str(n) for n in range(2 * pairs, pairs * (2 + OFFLINE_EACH))]
    with ExitStack() as stack:
        writing = [
            _ToOffline(stack.enter_context(server.connected(str(n))), others[n::pairs], ahead)
            for n in range(pairs)
        ]
        figures = drive(writing, server.process.pid, seconds)
        for pair in writing:
            for n, name in enumerate(pair.recipients):
                _receive_all(server, name, len(range(n, pair.sent, OFFLINE_EACH)))
    return figures


def _receive_all(server: _Server, name: str, waiting: int) -> None:
    """See that what was called stored comes; otherwise the client runs out of patience."""
    with server.connected(name) as recipient:
        came = recipient.become_available()
        while came < waiting:
            came += messages(recipient.receive())


class _XmppPair(Pair):
    def __init__(self, sender: Client, recipients: Sequence[str], ahead: int) -> None:
        super().__init__(ahead)
        self._sender = sender
        self._body = base64.b64encode(os.urandom(CONTENT_SIZE))
        self.recipients = recipients

    def send(self, first: int, number: int) -> None:
        self._sender.send(self.recipients, self._body, first, number)


class _ToOnline(_XmppPair):
    """A message is done when its recipient has it."""

    def __init__(self, sender: Client, recipient: Client, ahead: int) -> None:
        super().__init__(sender, [recipient.name], ahead)
        self._recipient = recipient

    def readers(self) -> list[tuple[socket.socket, Callable[[], object]]]:
        # Nothing but a refusal comes to the sender.
        return [(self._recipient.wire, self._read), (self._sender.wire, self._sender.receive)]

    def _read(self) -> None:
        self.done += messages(self._recipient.receive())


class _ToOffline(_XmppPair):
    """A message is done when a ping that was sent after it is answered."""

    def readers(self) -> list[tuple[socket.socket, Callable[[], object]]]:
        return [(self._sender.wire, self._read)]

    def send(self, first: int, number: int) -> None:
        for at in range(first, first + number, PING_EVERY):
            part = min(PING_EVERY, first + number - at)
            super().send(at, part)
            self._sender.ping(at + part)

    def _read(self) -> None:
        self.done = max([self.done, *pongs(self._sender.receive())])


@contextmanager
def _served(installed: Installation, people: int) -> Iterator[_Server]:
    """Serve so many people, who are called 0, 1 and so on, on a free port of the loopback."""
    with tempfile.TemporaryDirectory(prefix="kith-bench-ejabberd-") as name:
        directory = Path(name)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        # YAML reads JSON.
        (directory / "ejabberd.yml").write_text(json.dumps(_configuration(*address)))
        password = secrets.token_hex()
        boot = _BOOT.format(host=HOST, password=password, people=people, ready=_READY)
        log = directory / "output"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(installed.erlang, "-noshell", "-mnesia", "dir", f'"{directory}/mnesia"'),
                    *("-s", "ejabberd", "-eval", boot),
                ],
                cwd=directory,
                env=os.environ
                | {
                    "ERL_LIBS": installed.libraries,
                    "ERL_CRASH_DUMP_BYTES": "0",
                    "EJABBERD_CONFIG_PATH": f"{directory}/ejabberd.yml",
                    "EJABBERD_LOG_PATH": f"{directory}/ejabberd.log",
                },
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _await_ready(process, log)
            yield _Server(process, address, password)
        finally:
            _stop(process)


def _configuration(host: str, port: int) -> dict[str, Any]:
    return {
        "hosts": [HOST],
        "loglevel": "error",
        "listen": [{"ip": host, "port": port, "module": "ejabberd_c2s"}],
        "shaper_rules": {"messages_that_wait": "infinity"},
        "modules": {
            "mod_offline": {"access_max_user_messages": "messages_that_wait"},
            "mod_ping": {},
        },
    }


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + READY_SECONDS
    while _READY not in log.read_text():
        if process.poll() is not None or time.monotonic() > ends:
            raise RuntimeError(f"ejabberd did not start: {log.read_text()}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)
