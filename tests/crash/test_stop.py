"""SIGTERM of the real server: open sockets are told, and do not hold it up."""

import signal
import time
from pathlib import Path

import pytest

from bench.people import settle
from tests.server import running_server
from tests.sockets import TestSocket

#: Less than gunicorn waits for requests that are under way.
SOON = 10


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_open_sockets_end_with_the_server(database_url: str, tmp_path: Path) -> None:
    """Each gets 1001, and the server is gone long before its time is up."""
    people = settle(database_url, 3)
    environment = {"KITH_DATA_DIR": str(tmp_path), "KITH_DATABASE_URL": database_url}
    with running_server(environment, tmp_path / "server.log") as server:
        sockets = [
            TestSocket(server.address, Authorization=f"Bearer {person.token}") for person in people
        ]
        for socket in sockets:
            socket.expect("ready")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert [socket.closing().code for socket in sockets] == [1001] * 3
        for socket in sockets:
            socket.close()
        server.process.wait(SOON)
        assert time.monotonic() - began < SOON
    log = (tmp_path / "server.log").read_text()
    assert log.count('"event": "stream.closed"') == 3
    assert "Traceback" not in log
