"""Two workers' wake-ups in one process, over a real Valkey that is killed, hangs and is talked over."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import valkey as valkey_client
from structlog.testing import capture_logs

from core.metrics import Metrics
from messaging.message_types import CloseCode, GroupChangedNotice, KeysLowNotice, Notice, Signal
from messaging.metrics import MessagingMetrics
from messaging.notifications.listeners import LongPoll
from messaging.notifications.notifications import MessageStored, encode
from messaging.notifications.registry import ListenerRegistry
from messaging.notifications.valkey_bus import ValkeyBus
from tests.tls_front import CERTIFICATE, tls_front
from tests.valkey import Valkey, running_valkey

HERS, HIS = UUID(int=1), UUID(int=2)
#: Far longer than any test may take.
LONG = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """One Valkey for all of these tests."""
    with running_valkey() as valkey:
        yield valkey


class Listener(LongPoll):
    """Keeps all it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.why: list[CloseCode] = []
        self.said: list[Signal | Notice] = []
        self.ended, self.spoken_to = threading.Event(), threading.Event()

    def on_signal(self, signal: Signal) -> None:
        """Keep a signal."""
        self.said.append(signal)
        self.spoken_to.set()

    def on_notice(self, notice: Notice) -> None:
        """Keep a notice."""
        self.said.append(notice)
        self.spoken_to.set()

    def close(self, why: CloseCode) -> None:
        """Keep why."""
        self.why.append(why)
        self.ended.set()


class Worker:
    """What of a worker is about wake-ups."""

    def __init__(self, url: str, namespace: str) -> None:
        self.registry, metrics = ListenerRegistry(), Metrics()
        self._samples = metrics.registry
        self.offline: list[UUID] = []
        self._changed = threading.Condition()
        self._joined: list[UUID] = []
        # Connections are given up, and made again, sooner than in production.
        self.bus = ValkeyBus(
            url,
            namespace,
            self.registry,
            self._join,
            MessagingMetrics(metrics),
            ping_seconds=0.1,
            timeout_seconds=0.5,
            max_retry_seconds=0.2,
        )
        self.registry.bus = self.bus
        self.registry.offline_handlers.append(self._report_offline)

    def _join(self, device_id: UUID) -> None:
        with self._changed:
            self._joined.append(device_id)
            self._changed.notify_all()

    def _report_offline(self, device_ids) -> None:  # type: ignore[no-untyped-def]
        with self._changed:
            self.offline += device_ids
            self._changed.notify_all()

    def until(self, what: Callable[[], bool]) -> None:
        """Wait for something that the bus's threads bring about."""
        deadline = time.monotonic() + LONG
        with self._changed:
            while not self._changed.wait_for(what, 0.01):
                assert time.monotonic() < deadline, "it did not happen"

    def value(self, name: str, **labels: str) -> float:
        """Read a metric."""
        return self._samples.get_sample_value(name, labels) or 0.0

    def until_up(self, connections: int = 1) -> None:
        """Wait until it is connected for the so-manieth time."""
        self.until(
            lambda: (
                self.value("kith_valkey_up") == 1
                and self.value("kith_valkey_connections_total") >= connections
            )
        )

    @contextmanager
    def listening(self, device_id: UUID = HERS, token: bytes | None = None) -> Iterator[Listener]:
        """Listen, and wait until the others reach this listener and were told of it."""
        listener, before = Listener(), len(self._joined)
        with self.registry.register(device_id, listener, token):
            (slot,) = self.registry.slots_of(device_id)
            self.until(lambda: device_id in self._joined[before:] and slot.is_confirmed)
            yield listener

    def rejoined(self, times: int) -> None:
        """Wait until her channel was joined so often."""
        self.until(lambda: self._joined.count(HERS) >= times)


@pytest.fixture
def workers(server: Valkey) -> Iterator[tuple[Worker, Worker]]:
    """Two workers of a deployment of their own."""
    pair = Worker(server.url, uuid4().hex), Worker(server.url, "")
    pair[1].bus.namespace = pair[0].bus.namespace
    for worker in pair:
        worker.bus.start()
        worker.until_up()
    yield pair
    for worker in pair:
        worker.bus.stop()


def test_what_is_stored_here_wakes_there(workers: tuple[Worker, Worker]) -> None:
    """Who listens at another worker is woken, and passed signals and notices."""
    here, there = workers
    now = datetime.now(UTC)
    said = [
        Signal(HIS, HIS, b"ring", now, now + timedelta(minutes=1)),
        KeysLowNotice(1, 2),
        GroupChangedNotice(HIS, 3),
    ]
    with there.listening() as listener:
        here.registry.notify_stored({HERS: (), HIS: ()})
        assert listener.wait(LONG)
        here.registry.notify(HERS, said[0])  # type: ignore[arg-type]
        for notice in said[1:]:
            here.registry.notify(HERS, notice)  # type: ignore[arg-type]
        there.until(lambda: len(listener.said) == 3)
        assert listener.said == said
    assert here.value("kith_valkey_notifications_total", step="published") == 5
    # Her own announcement is one of them.
    assert there.value("kith_valkey_notifications_total", step="received") == 5


def test_nobody_listens_anywhere(workers: tuple[Worker, Worker]) -> None:
    """What is urgent and heard by nobody is told to who wakes in another way; nothing else is."""
    here, there = workers
    with there.listening() as listener:
        here.registry.notify_stored({HERS: (), HIS: ()}, urgent={HERS, HIS})
        here.until(lambda: here.offline == [HIS])
        assert listener.wait(LONG)
    here.registry.notify_stored({HIS: ()})
    here.registry.notify_stored({HERS: ()}, urgent={HERS})
    here.until(lambda: HERS in here.offline + there.offline)
    assert here.offline + there.offline == [HIS, HERS]


def test_who_listens_is_found_out(workers: tuple[Worker, Worker], server: Valkey) -> None:
    """Here or elsewhere; nobody does while Valkey is away, and each question has one answer."""
    here, there = workers
    answers: list[tuple[str, bool]] = []

    def ask(name: str, device_id: UUID) -> None:
        before = len(answers)
        here.registry.check_presence(device_id, lambda heard: answers.append((name, heard)))
        here.until(lambda: len(answers) > before)

    with there.listening(), here.registry.register(HIS, LongPoll(), is_poll=True):
        ask("there", HERS)
        ask("here", HIS)
        ask("nowhere", UUID(int=7))
    server.kill()
    try:
        here.until(lambda: here.value("kith_valkey_up") == 0)
        ask("away", HERS)
    finally:
        server.start()
    assert answers == [("there", True), ("here", True), ("nowhere", False), ("away", False)]


def test_a_newer_listener_elsewhere(workers: tuple[Worker, Worker]) -> None:
    """It ends the older one, and stays."""
    here, there = workers
    with here.listening() as older, there.listening() as newer:
        assert older.ended.wait(LONG)
        assert older.why == [CloseCode.REPLACED]
        newest = Listener()
        with here.registry.register(HERS, newest):
            assert newer.ended.wait(LONG)
            assert newest.why == []


def test_two_at_once(workers: tuple[Worker, Worker]) -> None:
    """Of many that come together at two workers, one stays."""
    for _ in range(20):
        start = threading.Barrier(2)
        listeners = Listener(), Listener()
        leave = threading.Event()

        def listen(
            worker: Worker,
            listener: Listener,
            start: threading.Barrier = start,
            leave: threading.Event = leave,
        ) -> None:
            with worker.registry.register(HERS, listener):
                start.wait(LONG)
                leave.wait(LONG)

        threads = [
            threading.Thread(target=listen, args=pair)
            for pair in zip(workers, listeners, strict=True)
        ]
        for thread in threads:
            thread.start()
        workers[0].until(lambda both=listeners: any(each.why for each in both))  # type: ignore[misc]
        leave.set()
        for thread in threads:
            thread.join()
        assert sorted(len(each.why) for each in listeners) == [0, 1]


def test_revoked_elsewhere(workers: tuple[Worker, Worker]) -> None:
    """A replaced token ends who came with it at another worker, and nobody else."""
    here, there = workers
    with there.listening(token=b"newer" * 4) as listener:
        here.registry.close(HERS, CloseCode.TOKEN_REPLACED, b"newer" * 4)
        here.registry.close(HERS, CloseCode.TOKEN_REPLACED, b"newest" * 4)
        assert listener.ended.wait(LONG)
        assert listener.why == [CloseCode.TOKEN_REPLACED]


def test_garbage(workers: tuple[Worker, Worker], server: Valkey) -> None:
    """What is no notification is counted and ignored."""
    here, there = workers
    with there.listening() as listener:
        stranger = valkey_client.Valkey(host="127.0.0.1", port=server.port)
        for garbage in (b"", b"\x01", b"\x01\xff" * 500, b"\x02nothing"):
            stranger.publish(f"{here.bus.namespace}:device:{HERS.hex}", garbage)
        stranger.close()
        here.registry.notify_stored({HERS: ()})
        assert listener.wait(LONG)
        assert listener.why == []
        assert there.value("kith_valkey_notifications_total", step="invalid") == 4


def test_deployments_share_a_valkey(workers: tuple[Worker, Worker], server: Valkey) -> None:
    """Notifications stay in their namespace."""
    stranger = Worker(server.url, "stranger")
    stranger.bus.start()
    stranger.until_up()
    with workers[0].listening() as listener:
        stranger.registry.notify_stored({HERS: ()}, urgent={HERS})
        stranger.until(lambda: stranger.offline == [HERS])
        assert not listener.wait(0)
    stranger.bus.stop()


@pytest.fixture
def own() -> Iterator[Valkey]:
    """A Valkey that may be broken."""
    with running_valkey() as valkey:
        yield valkey


@pytest.mark.parametrize("hanging", [False, True], ids=["killed", "hanging"])
def test_valkey_is_away(own: Valkey, hanging: bool) -> None:
    """Nobody waits for it; who is urgent is offline; when it is back all is as before, by itself."""
    here, there = Worker(own.url, "kith"), Worker(own.url, "kith")
    for worker in (here, there):
        worker.bus.start()
        worker.until_up()
    with there.listening() as listener, ExitStack() as others, capture_logs() as lines:
        for number in range(10, 310):
            others.enter_context(there.registry.register(UUID(int=number), LongPoll()))
        own.freeze() if hanging else own.kill()
        here.until(lambda: here.value("kith_valkey_up") == there.value("kith_valkey_up") == 0)
        here.registry.notify_stored({HERS: ()}, urgent={HERS})
        assert here.offline == [HERS]
        assert here.value("kith_valkey_notifications_total", step="dropped") == 1
        own.thaw() if hanging else own.start()
        # Subscribed again, which has the poller look for what was missed.
        there.rejoined(times=2)
        there.until(lambda: there._joined.count(UUID(int=309)) >= 1)
        here.until_up(2)
        listener.clear()
        here.registry.notify_stored({HERS: ()})
        assert listener.wait(LONG)
        assert listener.why == []
    # Said once by each, however often they tried.
    assert [line["event"] for line in lines].count("bus.lost") == 2
    for worker in (here, there):
        worker.bus.stop()


def test_two_that_came_while_it_was_away(own: Valkey) -> None:
    """The older of two listeners ends once the workers hear each other again."""
    here, there = Worker(own.url, "kith"), Worker(own.url, "kith")
    for worker in (here, there):
        worker.bus.start()
        worker.until_up()
    own.kill()
    here.until(lambda: here.value("kith_valkey_up") == there.value("kith_valkey_up") == 0)
    older, newer = Listener(), Listener()
    with here.registry.register(HERS, older), there.registry.register(HERS, newer):
        own.start()
        assert older.ended.wait(LONG)
        assert (older.why, newer.why) == ([CloseCode.REPLACED], [])
    for worker in (here, there):
        worker.bus.stop()


def test_a_password(own: Valkey) -> None:
    """With the wrong one nothing works and nothing is shown; its user may do no more than it needs."""
    operator = valkey_client.Valkey(host="127.0.0.1", port=own.port)
    may = ["-@all", "+publish", "+subscribe", "+unsubscribe", "+ping", "+hello", "+client"]
    operator.acl_setuser("worker", True, passwords="+hunter2", reset=True)
    operator.execute_command("ACL", "SETUSER", "worker", "resetchannels", "&kith:device:*", *may)
    with capture_logs() as lines:
        wrong = Worker(own.url.replace("//", "//worker:hunter3@"), "kith")
        wrong.bus.start()
        wrong.until(lambda: bool(lines))
        wrong.bus.stop()
        assert wrong.value("kith_valkey_connections_total") == 0
        right = Worker(own.url.replace("//", "//worker:hunter2@"), "kith")
        right.bus.start()
        right.until_up()
        with right.listening() as listener:
            operator.publish(f"kith:device:{HERS.hex}", encode(MessageStored(1, False)))
            assert listener.wait(LONG)
            right.registry.notify_stored({HIS: ()}, urgent={HIS})
            right.until(lambda: right.offline == [HIS])
        right.bus.stop()
    operator.close()
    assert "hunter" not in str(lines)


def test_tls(server: Valkey) -> None:
    """With valkeys:// the certificate has to be trusted, and to be the host's."""
    with tls_front(server.port) as port, capture_logs() as lines:
        addresses = [
            f"valkeys://127.0.0.1:{port}",
            f"valkeys://localhost:{port}?ssl_ca_certs={CERTIFICATE}",
            f"valkeys://127.0.0.1:{port}?ssl_ca_certs={CERTIFICATE}",
        ]
        *refused, trusted = (Worker(address, "tls") for address in addresses)
        for worker in refused:
            lines.clear()
            worker.bus.start()
            worker.until(lambda: bool(lines))
            worker.bus.stop()
            assert worker.value("kith_valkey_connections_total") == 0
        trusted.bus.start()
        trusted.until_up()
        with trusted.listening():
            pass
        trusted.bus.stop()
