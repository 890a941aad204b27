"""Sockets at two workers over a real Valkey, without the mailbox poller: every message is notified."""

import base64
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from typing import NamedTuple
from uuid import UUID, uuid4

import httpx
import pytest

from app import Kith
from messaging.message_types import CloseCode
from messaging.push.waker import LEFT_DELAY
from messaging.stream.window import MAX_UNACKNOWLEDGED
from tests.conftest import Clock, MakeApp, Person
from tests.contract.fake_push import FakePushService
from tests.people import put_in_touch, settle
from tests.serving import served
from tests.sockets import Frame, TestSocket
from tests.valkey import Valkey, running_valkey

#: Far longer than any test may take.
LONG = 20.0
BLOCKED = 2


class Worker(NamedTuple):
    """A worker, which serves and is on the bus; it never looks by itself."""

    kith: Kith
    address: tuple[str, int]

    @property
    def url(self) -> str:
        """Its address as a URL."""
        return "http://{}:{}".format(*self.address)

    def open(self, person: Person, listeners: int = 1) -> TestSocket:
        """Open a person's socket, and wait until the other workers reach it and other listeners here."""
        socket = TestSocket(self.address, Authorization=f"Bearer {person.token}")
        assert socket.expect("ready")["device_id"] == person.device_id
        self.until_announced(person, listeners)
        return socket

    def until_announced(self, person: Person, listeners: int = 1) -> None:
        """Wait until others reach a person's listeners here, and were told of them."""
        registry, device_id = self.kith.messaging.registry, UUID(person.device_id)
        until(
            lambda: [one.is_confirmed for one in registry.slots_of(device_id)] == [True] * listeners
        )


@pytest.fixture
def dialect() -> str:
    """Several workers need PostgreSQL."""
    return "postgresql"


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """One Valkey for all of these tests."""
    with running_valkey() as server:
        yield server


@pytest.fixture
def workers(make_app: MakeApp, valkey: Valkey) -> Iterator[tuple[Worker, Worker]]:
    """Two workers of a deployment."""
    yield from _workers(make_app, valkey)


@pytest.fixture
def push_workers(make_app: MakeApp, valkey: Valkey) -> Iterator[tuple[Worker, Worker]]:
    """Two workers that wake browsers."""
    settings = {"push": ("webpush",), "vapid_subject": "mailto:ops@example.com"}
    yield from _workers(make_app, valkey, **settings)


@pytest.fixture
def service() -> Iterator[FakePushService]:
    """Run a push service."""
    with FakePushService() as fake:
        yield fake


def _workers(
    make_app: MakeApp, valkey: Valkey, **settings: object
) -> Iterator[tuple[Worker, Worker]]:
    namespace = uuid4().hex
    with ExitStack() as stack:
        pair = []
        for _ in range(2):
            app = make_app(valkey_url=valkey.url, valkey_namespace=namespace, **settings)
            kith: Kith = app.extensions["kith"]
            bus = kith.messaging.bus
            assert bus is not None
            bus.start()
            stack.callback(bus.stop)
            until(
                lambda kith=kith: (
                    kith.runtime.metrics.registry.get_sample_value("kith_valkey_up") == 1
                )
            )  # type: ignore[misc]
            pair.append(Worker(kith, stack.enter_context(served(app))))
        yield pair[0], pair[1]


@pytest.fixture
def people(workers: tuple[Worker, Worker]) -> tuple[Person, Person]:
    """Two people who are in touch."""
    anna, ben = settle(workers[0].kith, 2)
    put_in_touch(workers[0].kith, [ben], anna)
    return anna, ben


def until(what: Callable[[], bool]) -> None:
    """Wait for something that threads bring about."""
    deadline = time.monotonic() + LONG
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


_names = count()


def send(worker: Worker, sender: Person, to: Person, content: bytes, **fields: object) -> None:
    """Have somebody write at a worker."""
    text = base64.urlsafe_b64encode(content).rstrip(b"=").decode()
    body = {
        "to": to.account_id,
        "client_id": str(next(_names)),
        "envelopes": [{"device_id": to.device_id, "content": text}],
    } | fields
    answer = httpx.post(f"{worker.url}/v1/messages", json=body, headers=sender.headers)
    assert answer.status_code == 202, answer.text


def acknowledge(worker: Worker, person: Person, through: int) -> None:
    """Have somebody acknowledge at a worker."""
    url = f"{worker.url}/v1/messages/ack"
    answer = httpx.post(url, json={"through": through}, headers=person.headers)
    assert answer.status_code == 204, answer.text


@pytest.mark.parametrize("sender_at", [0, 1], ids=["here", "elsewhere"])
def test_the_first_message_after_a_reconnect(
    workers: tuple[Worker, Worker], people: tuple[Person, Person], clock: Clock, sender_at: int
) -> None:
    """A mailbox that was used, with gaps of all kinds, is empty: the next message comes at once."""
    here, (anna, ben) = workers[0], people
    at = workers[sender_at]
    send(at, anna, ben, b"acknowledged")
    acknowledge(at, ben, 1)
    with here.open(ben) as socket:
        assert socket.expect("caught_up") == {"through": 1}
        send(at, anna, ben, b"after an acknowledgement")
        assert socket.expect("message")["seq"] == 2
    acknowledge(here, ben, 2)
    send(at, anna, ben, b"expires", expires_in=10)
    clock.advance(11)
    here.kith.maintenance.run()
    with here.open(ben) as socket:
        assert socket.expect("caught_up") == {"through": 3}
        send(at, anna, ben, b"after one that expired")
        assert socket.expect("message")["seq"] == 4
    acknowledge(here, ben, 4)
    with here.open(ben) as socket:
        assert socket.expect("caught_up") == {"through": 4}
        stranger = settle(here.kith, 1)[0]
        put_in_touch(here.kith, [ben], stranger, BLOCKED)
        send(at, stranger, ben, b"dropped")
        send(at, anna, ben, b"after one that was dropped")
        assert socket.expect("message")["content"] == b"after one that was dropped"


@pytest.mark.parametrize("sender_at", [0, 1], ids=["at the socket", "at the poll"])
def test_a_poll_and_a_socket_at_two_workers(
    workers: tuple[Worker, Worker], people: tuple[Person, Person], sender_at: int
) -> None:
    """Both are told what comes; a second socket still replaces the first, and a second poll the first."""
    here, there = workers
    anna, ben = people
    with ThreadPoolExecutor() as pool, here.open(ben) as socket:
        assert socket.expect("caught_up") == {"through": 0}
        poll = pool.submit(wait, there, ben)
        there.until_announced(ben)
        (slot,) = here.kith.messaging.registry.slots_of(UUID(ben.device_id))
        until(lambda: slot.remote_poll_until > 0)
        send(workers[sender_at], anna, ben, b"to both")
        assert [message["seq"] for message in poll.result(LONG)] == [1]
        assert socket.expect("message")["seq"] == 1
        acknowledge(there, ben, 1)
        poll = pool.submit(wait, there, ben)
        there.until_announced(ben)
        with there.open(ben, listeners=2) as newer:
            assert socket.closing().code == CloseCode.REPLACED
            newest = pool.submit(wait, here, ben)
            assert poll.result(LONG) == []
            send(workers[sender_at], anna, ben, b"to both again")
            assert [message["seq"] for message in newest.result(LONG)] == [2]
            newer.expect("caught_up")
            assert newer.expect("message")["seq"] == 2


def test_an_acknowledgement_at_another_worker_makes_room(
    workers: tuple[Worker, Worker], people: tuple[Person, Person]
) -> None:
    """A full window goes on when the device acknowledges over HTTP, wherever it does."""
    here, there = workers
    anna, ben = people
    with here.open(ben) as socket, there.open(anna) as sender:
        assert socket.expect("caught_up") == {"through": 0}
        assert sender.expect("caught_up") == {"through": 0}
        for worker in (here, there):
            for _ in range(MAX_UNACKNOWLEDGED + 1):
                sender.send(frame(ben))
                sender.expect("accepted")
            came = [seq for _ in range(MAX_UNACKNOWLEDGED) if (seq := next_message(socket))]
            acknowledge(worker, ben, came[-1])
            last = next_message(socket)
            assert last == came[-1] + 1
            acknowledge(worker, ben, last)


def frame(to: Person) -> Frame:
    """Write a message as a frame."""
    return {
        "type": "send",
        "to": to.account_id,
        "client_id": str(next(_names)),
        "envelopes": [{"device_id": to.device_id, "content": b"x"}],
    }


def next_message(socket: TestSocket) -> int:
    """Give the number of the next message."""
    while (told := socket.receive())["type"] != "message":
        assert told["type"] == "caught_up"
    seq: int = told["seq"]
    return seq


def wait(worker: Worker, person: Person) -> list[dict[str, object]]:
    """Have somebody wait for a message at a worker."""
    answer = httpx.get(
        f"{worker.url}/v1/messages",
        params={"wait": int(LONG)},
        headers=person.headers,
        timeout=2 * LONG,
    )
    messages: list[dict[str, object]] = answer.json()["messages"]
    return messages


def test_who_is_back_at_another_worker_is_not_woken(
    push_workers: tuple[Worker, Worker], service: FakePushService, clock: Clock
) -> None:
    """A device that left here with something unacknowledged is looked for at all workers first."""
    here, there = push_workers
    anna, ben = settle(here.kith, 2)
    put_in_touch(here.kith, [ben], anna)
    body = service.browser().subscription()
    url = f"{here.url}/v1/push-subscription"
    assert httpx.put(url, json=body, headers=ben.headers).status_code == 204
    with here.open(ben) as socket:
        send(here, anna, ben, b"not acknowledged")
        while socket.receive()["type"] != "message":
            pass
    waker = here.kith.messaging.push.waker
    until(lambda: UUID(ben.device_id) in waker._left)
    waker.run_once()
    with there.open(ben):
        clock.advance(LEFT_DELAY.total_seconds())
        waker.run_once()
        waker.drain()
        assert service.received == []
    until(lambda: UUID(ben.device_id) in there.kith.messaging.push.waker._left)
    there.kith.messaging.push.waker.run_once()
    clock.advance(LEFT_DELAY.total_seconds())
    waker.run_once()
    waker.drain()
    assert len(service.received) == 1
