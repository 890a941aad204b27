"""Several processes wake devices: each is woken once, by one of them."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from core.database import Database
from core.metrics import Metrics
from messaging.mailbox.models import Mailbox
from messaging.push import wakeup_queue
from messaging.push.metrics import PushMetrics
from messaging.push.models import PushSubscription
from messaging.push.provider import PushTarget
from messaging.push.waker import Waker
from tests.conftest import Clock

DEVICES, PROCESSES = 120, 4


class Bell:
    """A provider that notes whom it woke."""

    name = "fcm"

    def __init__(self) -> None:
        self.woken: list[UUID] = []

    def wake(self, target: PushTarget) -> None:
        """Note it."""
        self.woken.append(target.device_id)


@pytest.fixture
def devices(database: Database) -> list[UUID]:
    """Devices for each of which an urgent message waits."""
    ids = [uuid4() for _ in range(DEVICES)]
    with database.write() as connection:
        connection.execute(
            insert(Mailbox),
            [
                {
                    "device_id": device_id,
                    "account_id": uuid4(),
                    "last_seq": 1,
                    "acked_seq": 0,
                    "urgent_seq": 1,
                    "waiting": 1,
                    "waiting_bytes": 1,
                }
                for device_id in ids
            ],
        )
        connection.execute(
            insert(PushSubscription),
            [
                {
                    "device_id": device_id,
                    "is_webhook": False,
                    "type": "fcm",
                    "address": "token",
                }
                for device_id in ids
            ],
        )
    return ids


def test_a_claim_is_one_process_s(database: Database, clock: Clock, devices: list[UUID]) -> None:
    """What all of them claim at once is each row once."""
    with database.write() as connection:
        wakeup_queue.schedule(connection, devices, ["fcm"], clock())
    together = Barrier(PROCESSES)

    def claim(_: int) -> list[UUID]:
        together.wait()
        mine: list[UUID] = []
        while True:
            with database.write() as connection:
                until = clock() + timedelta(minutes=2)
                claims = wakeup_queue.claim(connection, "fcm", clock(), until, 7)
            mine += [one.target.device_id for one in claims]
            if not claims:
                return mine

    with ThreadPoolExecutor(PROCESSES) as pool:
        claimed = [device_id for mine in pool.map(claim, range(PROCESSES)) for device_id in mine]
    # On PostgreSQL one that finds only rows which others hold may stop early; they finish.
    assert Counter(claimed) == Counter(devices)


def test_all_who_mark_and_send_wake_each_once(
    database: Database, clock: Clock, devices: list[UUID]
) -> None:
    """Every process heard of every device, in an order of its own, and nobody waits for ever."""
    bells = [Bell() for _ in range(PROCESSES)]
    together = Barrier(PROCESSES)

    def live(bell: Bell) -> None:
        waker = Waker(database, clock, PushMetrics(Metrics()), [bell])
        together.wait()
        for begin in range(0, DEVICES, 30):
            waker.wake(devices[begin : begin + 30])
            waker.run_once()
            waker.drain()
        for _ in range(DEVICES):
            waker.run_once()
            waker.drain()
            with database.read() as connection:
                if not wakeup_queue.is_any_due(connection, "fcm", clock()):
                    break

    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(live, bells))
    assert Counter(one for bell in bells for one in bell.woken) == Counter(devices)
