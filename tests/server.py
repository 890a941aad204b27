"""The service as it is served, for tests and benches: gunicorn in a process group of its own."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
READY_SECONDS = 60
STOP_SECONDS = 10


class RunningServer(NamedTuple):
    """A server that answers; `log` is where its output goes."""

    base_url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for those who bring their own sockets."""
        host, _, port = self.base_url.removeprefix("http://").partition(":")
        return host, int(port)

    def kill(self) -> None:
        """Kill -9 the master and its workers at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)


@contextmanager
def running_server(
    environment: Mapping[str, str], log: Path, port: int = 0
) -> Iterator[RunningServer]:
    """Serve in this block on the loopback; the database is migrated already.

    environment: the `KITH_*` variables, at least KITH_DATA_DIR; others of this process are dropped.
    log: the file that the server's output is appended to. port: one of one's own, or any that is free.
    """
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    port = listener.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    others = [
        socket.create_server(("127.0.0.1", int(environment[name])))
        for name in ("KITH_METRICS_PORT",)
        if name in environment
    ]
    given = {
        "KITH_PORT": str(port),
        "KITH_PUBLIC_URL": f"http://127.0.0.1:{port}",
        # Of every data directory that pytest keeps for a while it would be an eighth of a GiB.
        "KITH_STORAGE_RESERVE_BYTES": "0",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"),
                # The port is bound here and handed over, so that nobody can take it in between.
                *("--bind", f"fd://{listener.fileno()}"),
                *(part for one in others for part in ("--bind", f"fd://{one.fileno()}")),
                "wsgi:app",
            ],
            cwd=ROOT,
            env=inherited | given | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[one.fileno() for one in (listener, *others)],
            start_new_session=True,
        )
    # From here only the server holds it: when it dies, waiting connections are reset, not hung.
    for one in (listener, *others):
        one.close()
    server = RunningServer(f"http://127.0.0.1:{port}", process, log)
    try:
        _await_ready(server)
        yield server
    finally:
        _stop(process)


def _await_ready(server: RunningServer) -> None:
    """Ask once: the kernel keeps the connection until the first worker takes it."""
    connection = http.client.HTTPConnection(*server.address, timeout=READY_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read()
    except OSError as error:
        raise RuntimeError(f"the server did not start: {server.log.read_text()}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the server is not ready: {body.decode()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    # Whatever of the group is left, a worker that outlived its master too.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)
