"""Two servers behind a real proxy, restarted one after the other while people use them."""

import http.client
import json
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from bench.people import UNLIMITED, Person, settle
from core.base64url import encode
from tests.proxies import proxy
from tests.server import RunningServer, running_server

PATIENCE = 30.0
PEOPLE = 8


class Users:
    """People who send and fetch over kept connections, and note what went wrong."""

    def __init__(self, address: tuple[str, int], people: list[Person]) -> None:
        self.lost: list[str] = []
        self.served = 0
        self._over = threading.Event()
        self._address = address
        self._threads = [
            threading.Thread(target=self._use, args=(person, people[number - 1]))
            for number, person in enumerate(people)
        ]

    def _use(self, me: Person, other: Person) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=PATIENCE)
        while not self._over.is_set():
            envelope = {"device_id": str(me.device_id), "content": encode(b"hello")}
            message = {"to": str(me.account_id), "client_id": uuid4().hex, "envelopes": [envelope]}
            for method, path, body in (
                ("POST", "/v1/messages", message | {"to": str(other.account_id)}),
                ("GET", "/v1/messages?limit=1&wait=1", None),
            ):
                if body is not None:
                    envelope["device_id"] = str(other.device_id)
                try:
                    headers = {"Authorization": f"Bearer {me.token}"}
                    if body:
                        headers["Content-Type"] = "application/json"
                    connection.request(method, path, body and json.dumps(body), headers)
                    answer = connection.getresponse()
                    text = answer.read()
                except (OSError, http.client.HTTPException) as error:
                    self.lost.append(f"{method} {error!r}")
                    connection.close()
                    continue
                if answer.status not in (200, 202):
                    self.lost.append(f"{method} {answer.status} {text.decode()[:200]}")
                self.served += 1
            time.sleep(0.02)
        connection.close()

    def __enter__(self) -> "Users":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def _restart(stack: ExitStack, server: RunningServer, environment: Mapping[str, str]) -> None:
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(PATIENCE)
    stack.enter_context(running_server(environment, server.log, server.address[1]))
    time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nginx", "haproxy"])
@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_rolling_restart_loses_no_request(database_url: str, tmp_path: Path, name: str) -> None:
    """Neither what was sent to the one that stops, nor what waits there, nor what comes meanwhile."""
    people = settle(database_url, PEOPLE)
    environment = {
        "KITH_DATA_DIR": str(tmp_path),
        "KITH_DATABASE_URL": database_url,
        "KITH_TRUSTED_PROXIES": "127.0.0.1",
        **UNLIMITED,
    }
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running_server(environment, tmp_path / f"{number}.log"))
            for number in range(2)
        ]
        address = stack.enter_context(proxy(name, [server.address for server in servers]))
        with Users(address, people) as users:
            time.sleep(1)
            for server in servers:
                _restart(stack, server, environment)
        assert users.lost == []
        assert users.served > PEOPLE
    for server in servers:
        assert "Traceback" not in server.log.read_text()
