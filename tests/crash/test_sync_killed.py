"""kill -9 of `kith sync` while it waits for an answer: the next run repeats that request first."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.databases import ROOT

NUMBERS = [f"+4915111111{n:03}" for n in range(100)]
PAGE = 10


class Lookups(BaseHTTPRequestHandler):
    """Answers every lookup with nobody, and kills who asks instead when it is told to."""

    bodies: list[dict[str, Any]]
    #: Which lookup is charged and not answered, counted from 1.
    fatal: int
    asker: subprocess.Popen[bytes]

    def do_GET(self) -> None:
        """Give the parameters."""
        self._answer(
            {
                "epoch": "e1",
                "algorithm": "sha256",
                "salt": "s",
                "max_hashes": PAGE,
                "expires_at": None,
                "budget": {"left": 1000, "capacity": 1000, "refill_per_day": 50},
            }
        )

    def do_POST(self) -> None:
        """Take a lookup."""
        kind = type(self)
        kind.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if len(kind.bodies) == kind.fatal:
            os.kill(kind.asker.pid, signal.SIGKILL)
            kind.asker.wait()
        else:
            self._answer({"matches": {}, "sync_token": f"token {len(kind.bodies)}"})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def _serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Lookups)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_killed_sync_goes_on_where_it_was(tmp_path: Path) -> None:
    """What was answered is proven, what was not is repeated as it was, and nothing else is asked
    twice.
    """
    book = tmp_path / "book.csv"
    book.write_text("Phone\n" + "\n".join(NUMBERS) + "\n")
    Lookups.bodies, Lookups.fatal = [], 4
    with _serving() as address:
        environment = os.environ | {
            "KITH_SERVER": address,
            "KITH_TOKEN": "kithsvc_token",
            "XDG_STATE_HOME": str(tmp_path),
        }
        words = [sys.executable, "-m", "kith", "sync", str(book), "--quiet"]
        Lookups.asker = subprocess.Popen(words, cwd=ROOT, env=environment)
        assert Lookups.asker.wait(60) == -signal.SIGKILL
        killed, Lookups.bodies, Lookups.fatal = Lookups.bodies, [], 0
        again = subprocess.run(words, cwd=ROOT, env=environment, timeout=60, check=False)
    assert again.returncode == 0
    assert len(killed) == 4
    assert Lookups.bodies[0] == killed[-1]
    assert [len(body["hashes"]) for body in Lookups.bodies] == [PAGE, 0, 0, 0, *[PAGE] * 6]
    for answered, repeated in zip(killed[:3], Lookups.bodies[1:4], strict=True):
        assert repeated["known"] == answered["hashes"]
        assert repeated["sync_token"].startswith("token ")
    asked = [digest for body in [*killed[:3], *Lookups.bodies] for digest in body["hashes"]]
    assert len(set(asked)) == len(asked) == len(NUMBERS)
