"""Several workers as they are served: gunicorn, PostgreSQL and Valkey, through HTTP."""

import base64
import re
import threading
import time
from ast import literal_eval
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from bench.stream_client import JSON, CaughtUp, Client
from messaging.message_types import CloseCode
from tests.crash.people import Person, read_code, register, start
from tests.server import RunningServer, running_server
from tests.valkey import Valkey, running_valkey

pytestmark = pytest.mark.slow
#: Far longer than any test may take: a wait that ends was ended by what the test is about.
LONG = 30
_numbers = count(1)


@pytest.fixture
def dialect() -> str:
    """Several workers need PostgreSQL."""
    return "postgresql"


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A Valkey, which tests may break as long as they mend it."""
    with running_valkey() as server:
        yield server


@pytest.fixture
def environment(database_url: str, valkey: Valkey, tmp_path: Path) -> dict[str, str]:
    """What all workers of a deployment have in common."""
    return {
        "KITH_DATA_DIR": str(tmp_path),
        "KITH_DATABASE_URL": database_url,
        "KITH_VALKEY_URL": valkey.url,
        "KITH_VALKEY_NAMESPACE": f"test-{uuid4().hex[:8]}",
    }


@pytest.fixture
def pair(environment: dict[str, str], tmp_path: Path) -> Iterator[list[RunningServer]]:
    """Two servers with a worker each, so that a test knows which one it asks."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running_server(environment, tmp_path / f"server-{n}.log"))
            for n in range(2)
        ]
        for server in servers:
            _until_connected(server, 1)
        yield servers
    for server in servers:
        assert "Traceback" not in server.log.read_text()


def _metric(base_url: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{base_url}/metrics").text, re.M)
    return float(found.group(1)) if found else 0.0


def _until(server: RunningServer, name: str, value: float) -> None:
    deadline = time.monotonic() + LONG
    while (found := _metric(server.base_url, name)) != value:
        assert time.monotonic() < deadline, f"{name} is {found}"
        time.sleep(0.05)


def _until_connected(server: RunningServer, workers: int) -> None:
    _until(server, "kith_valkey_up", workers)


def _newcomer(base_url: str) -> Person:
    number = f"+491511{next(_numbers):07d}"
    with httpx.Client(base_url=base_url) as client:
        verification = start(client, f"start-{number}", number)
        code = read_code(client, number)
        client.post(f"/v1/verifications/{verification}/checks", json={"code": code})
        return register(client, f"register-{number}", verification)


def _send(base_url: str, sender: Person, recipient: Person, text: str) -> None:
    content = base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
    body = {
        "to": recipient.account_id,
        "client_id": text,
        "envelopes": [{"device_id": recipient.device_id, "content": content}],
    }
    answer = httpx.post(f"{base_url}/v1/messages", json=body, headers=sender.headers, timeout=LONG)
    assert answer.status_code == 202, answer.text


class Reader(threading.Thread):
    """Fetches by long poll and acknowledges, until it has seen so much."""

    def __init__(self, base_url: str, person: Person, texts: int) -> None:
        super().__init__()
        self._base_url, self._person, self._wanted = base_url, person, texts
        self.texts: list[str] = []
        self.start()

    def run(self) -> None:
        """Read."""
        headers = self._person.headers
        with httpx.Client(base_url=self._base_url, headers=headers, timeout=2 * LONG) as client:
            while len(self.texts) < self._wanted:
                page = client.get("/v1/messages", params={"wait": LONG}).json()["messages"]
                self.texts += [_text(message["content"]) for message in page]
                if page:
                    client.post("/v1/messages/ack", json={"through": page[-1]["seq"]})


def _text(content: str) -> str:
    return base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)).decode()


@pytest.mark.parametrize("outage", ["killed", "hanging"])
def test_nothing_is_lost(pair: list[RunningServer], valkey: Valkey, outage: str) -> None:
    """People at different workers write to each other while Valkey goes away and comes back."""
    anna, ben = (_newcomer(server.base_url) for server in pair)
    texts = [f"message-{n}" for n in range(60)]
    with ThreadPoolExecutor() as pool:
        to_ben, to_anna = (
            Reader(pair[1].base_url, ben, len(texts)),
            Reader(pair[0].base_url, anna, len(texts)),
        )
        for n, text in enumerate(texts):
            if n == 20:
                valkey.freeze() if outage == "hanging" else valkey.kill()
            if n == 40:
                valkey.thaw() if outage == "hanging" else valkey.start()
            both = [
                pool.submit(_send, pair[0].base_url, anna, ben, text),
                pool.submit(_send, pair[1].base_url, ben, anna, text),
            ]
            for each in both:
                each.result()
    for reader in (to_ben, to_anna):
        reader.join(LONG)
        assert reader.texts == texts
    for server in pair:
        _until_connected(server, 1)


def test_a_wait_ends_at_another_worker(pair: list[RunningServer]) -> None:
    """A long poll is ended by a newer one of its device, and by the end of the device, elsewhere."""
    ben = _newcomer(pair[0].base_url)

    def wait(server: RunningServer) -> httpx.Response:
        return httpx.get(
            f"{server.base_url}/v1/messages",
            params={"wait": LONG},
            headers=ben.headers,
            timeout=2 * LONG,
        )

    def received() -> float:
        return _metric(pair[0].base_url, 'kith_valkey_notifications_total{step="received"}')

    with ThreadPoolExecutor() as pool:
        older = pool.submit(wait, pair[0])
        while received() < 1:
            time.sleep(0.01)
        newer = pool.submit(wait, pair[1])
        assert older.result(LONG / 2).json()["messages"] == []
        assert not newer.done()
        done = httpx.delete(f"{pair[0].base_url}/v1/devices/{ben.device_id}", headers=ben.headers)
        assert done.status_code == 204
        assert newer.result(LONG / 2).json()["messages"] == []


def test_two_workers_of_one_server(environment: dict[str, str], tmp_path: Path) -> None:
    """One server with two workers: messages arrive, metrics are the sum, nothing is left behind."""
    log = tmp_path / "server.log"
    with running_server(environment | {"KITH_WORKERS": "2"}, log) as server:
        _until_connected(server, 2)
        url = server.base_url
        anna, *others = (_newcomer(url) for _ in range(5))
        readers = [Reader(url, person, 5) for person in others]
        for n in range(5):
            for person in others:
                _send(url, anna, person, f"{person.device_id}-{n}")
        for reader in readers:
            reader.join(LONG)
            assert len(reader.texts) == 5
        route = 'kith_http_requests_total{method="POST",route="/v1/messages",status="202"}'
        assert {_metric(url, route) for _ in range(10)} == {20.0}
        (metrics,) = (tmp_path / "metrics").iterdir()
        # One that is killed is replaced; what it did still counts, and what it was at does not.
        psutil.Process(server.process.pid).children()[0].kill()
        _until(server, "kith_valkey_connections_total", 3)
        _until_connected(server, 2)
        assert _metric(url, route) == 20
    assert not metrics.exists()
    assert "Traceback" not in log.read_text()


def _close_code(client: Client) -> int:
    """Read until the service closes a socket; give why it did."""
    client.wire.settimeout(LONG)
    with pytest.raises(ConnectionResetError, match="closed") as closed:
        while True:
            client.receive()
    client.wire.close()
    payload = literal_eval(str(closed.value).removeprefix("closed: "))
    return int.from_bytes(payload[:2])


def test_sockets_are_closed_from_another_worker(pair: list[RunningServer]) -> None:
    """A newer socket, a replaced token and a removed device close sockets wherever they are."""
    here, there = pair
    ben = _newcomer(here.base_url)
    older = Client(here.address, ben, JSON)  # type: ignore[arg-type]
    older.wait_for(CaughtUp)
    newer = Client(there.address, ben, JSON)  # type: ignore[arg-type]
    newer.wait_for(CaughtUp)
    assert _close_code(older) == CloseCode.REPLACED
    rotated = httpx.post(f"{here.base_url}/v1/tokens/rotate", headers=ben.headers).json()
    ben = replace(ben, token=rotated["device_token"])
    assert httpx.get(f"{here.base_url}/v1/account", headers=ben.headers).status_code == 200
    assert _close_code(newer) == CloseCode.TOKEN_REPLACED
    newest = Client(there.address, ben, JSON)  # type: ignore[arg-type]
    newest.wait_for(CaughtUp)
    httpx.delete(f"{here.base_url}/v1/devices/{ben.device_id}", headers=ben.headers)
    assert _close_code(newest) == CloseCode.REVOKED
