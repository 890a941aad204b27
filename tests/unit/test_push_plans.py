"""What the waker asks is found by an index, however many devices there are."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, insert

from core.database import Database
from messaging.mailbox.models import Mailbox
from messaging.push import wakeup_queue
from messaging.push.models import PushSubscription
from tests.conftest import Clock
from tests.unit.test_query_plans import plan

ROWS = 3000
SCAN = re.compile(r"(?:Seq Scan on|SCAN) (?:mailboxes|push_subscriptions)\b(?! USING)")


@pytest.fixture
def statements(database: Database) -> Iterator[dict[str, Any]]:
    """Collect what is asked, once each, with the values it was asked with."""
    seen: dict[str, Any] = {}

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        seen.setdefault(statement, parameters[0] if many else parameters)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


def test_nothing_scans_a_table(
    database: Database, clock: Clock, statements: dict[str, Any]
) -> None:
    """Marking, claiming, settling, dropping and walking touch the rows that they name."""
    devices = [uuid4() for _ in range(ROWS)]
    counts = {"last_seq": 2, "acked_seq": 1, "urgent_seq": 2, "waiting": 1, "waiting_bytes": 1}
    with database.write() as connection:
        connection.execute(
            insert(Mailbox),
            [{"device_id": one, "account_id": uuid4(), **counts} for one in devices],
        )
        connection.execute(
            insert(PushSubscription),
            [
                {
                    "device_id": one,
                    "is_webhook": False,
                    "type": "fcm",
                    "due_at": clock() + timedelta(minutes=n) if n % 10 == 1 else None,
                    "address": "token",
                }
                for n, one in enumerate(devices)
            ],
        )
    with database.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    statements.clear()
    with database.write() as connection:
        wakeup_queue.schedule(connection, devices[:2], ["fcm", "webhook"], clock())
        assert wakeup_queue.is_any_due(connection, "fcm", clock())
        until = clock() + timedelta(minutes=2)
        first, second = wakeup_queue.claim(connection, "fcm", clock(), until, 2)
        wakeup_queue.settle(connection, [wakeup_queue.Settlement(first, None, 1, 0)])
        wakeup_queue.remove(connection, [second])
        wakeup_queue.find_waiting(connection, UUID(int=0), 10)
        wakeup_queue.count_due(connection, clock())
    asked = {
        statement: parameters
        for statement, parameters in statements.items()
        if re.match(r"(SELECT|INSERT|UPDATE|DELETE)\b", statement)
    }
    assert len(asked) >= 8
    with database.write() as connection:
        # The pattern is that of a scan on both databases, or it would find none.
        assert SCAN.search(plan(connection, "SELECT * FROM mailboxes WHERE waiting = 1", ()))
        plans = {one: plan(connection, one, parameters) for one, parameters in asked.items()}
    assert {statement: one for statement, one in plans.items() if SCAN.search(one)} == {}
