"""Several `kith sync` of one account at once: each finds everybody, and together they pay once."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from tests.databases import ROOT
from tests.unit.kith.canned import Script
from tests.unit.kith.lookup_server import LookupServer

NUMBERS = [f"+4915111111{n:03}" for n in range(60)]
BOOKS = [NUMBERS[:40], NUMBERS[20:], NUMBERS[10:50], NUMBERS]


@contextmanager
def served(script: Script) -> Iterator[str]:
    """Serve a script on the loopback; one request at a time, as its server counts without locks."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, content: bytes) -> None:
            with lock:
                answer = script.handle_request(
                    httpx.Request(self.command, f"http://kith.test{self.path}", content=content)
                )
            body = answer.read()
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_syncs_at_once_pay_once(tmp_path: Path) -> None:
    """Books that overlap, in four processes: the one that comes later waits, and loses nothing."""
    script = Script()
    server = LookupServer(script, NUMBERS, max_hashes=7, left=1000)
    server.budget_owner = "crm"
    paths = []
    for place, numbers in enumerate(BOOKS):
        paths.append(tmp_path / f"book {place}.csv")
        paths[-1].write_text("Phone\n" + "\n".join(numbers) + "\n")
    with served(script) as address:
        environment = os.environ | {
            "KITH_SERVER": address,
            "KITH_TOKEN": "kithsvc_token",
            "XDG_STATE_HOME": str(tmp_path),
        }
        for _ in range(2):
            running = [
                subprocess.Popen(
                    [sys.executable, "-m", "kith", "sync", str(path), "--json"],
                    cwd=ROOT,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
                for path in paths
            ]
            outputs = [process.communicate(timeout=60)[0] for process in running]
            assert [process.returncode for process in running] == [0] * len(BOOKS)
            for output, numbers in zip(outputs, BOOKS, strict=True):
                found = [match["phone_number"] for match in json.loads(output)["matches"]]
                assert sorted(found) == numbers
    assert sum(server.charges) == len(NUMBERS)
