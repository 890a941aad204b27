"""Periodic work: each job deletes exactly what is over, in batches, one process at a time."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import func, insert, select, update

from core import database as core_database
from core import maintenance as core_maintenance
from core.clock import EPOCH
from core.database import Base, Database
from core.idempotency import IdempotencyRecord
from core.maintenance import LEASE, Job, Maintenance, MaintenanceLease
from core.metrics import Metrics
from core.rate_limit_statements import RateLimitCounter
from discovery.models import DirectoryChange, DiscoveryBudget
from interop.matrix.models import MatrixSession, MatrixToken, MatrixUser
from messaging.keys.models import ConsumedPrekey
from messaging.mailbox.models import Envelope, Mailbox, SentMessage
from sms.models import OutboxMessage, RoutingOutcome, Send, SmppMessage, TakenReport
from sms.outcomes import slot_of
from tests.conftest import NUMBER, Clock
from tests.databases import ROOT
from tokens.models import Device, DeviceLink, FormerLock, FormerNumber, RetiredToken, ServiceToken
from verification.models import Verification
from verification.policy.models import (
    Decision,
    NetworkCountry,
    ProvenNumber,
    Refusal,
    SpentChallenge,
    Traffic,
)

NOW = Clock.now
DEVICE = UUID(int=7)
TICK = timedelta(microseconds=1)


def _id(n: int) -> bytes:
    return n.to_bytes(16, "big")


def limit(n: int, age: timedelta) -> Base:
    """Count something that was over so long ago."""
    until = (NOW - age - EPOCH) // TICK
    return RateLimitCounter(subject=_id(n), name="sends", used=1, until_us=until)


def send(n: int, age: timedelta, status: str = "sent") -> Base:
    """Record a send of that age."""
    return Send(
        number_digest=_id(1),
        id=_id(n),
        verification_nonce=_id(2),
        channel="sms",
        provider="outbox",
        status=status,
        created_at=NOW - age,
        updated_at=NOW - age,
    )


def queued(n: int, age: timedelta) -> Base:
    """Record a send whose hand-over a crash cut off."""
    return send(n, age, "queued")


def outcome(n: int, age: timedelta) -> Base:
    """Keep what came of the sends of five minutes."""
    slot = slot_of(NOW - age)
    return RoutingOutcome(
        country="DE", channel="sms", slot=slot, provider=f"p{n}", sends=1, verified=0
    )


def text(n: int, age: timedelta) -> Base:
    """Keep a text of the mock provider."""
    return OutboxMessage(id=n, to=NUMBER, body="x", channel="sms", sent_at=NOW - age)


def report(n: int, age: timedelta) -> Base:
    """Remember a signed report that was taken so long ago."""
    return TakenReport(number_digest=_id(1), digest=_id(n) * 2, taken_at=NOW - age)


def smpp_message(n: int, age: timedelta) -> Base:
    """Keep the id that an SMSC gave a message so long ago."""
    return SmppMessage(message_id=str(n), created_at=NOW - age)


def verification(n: int, age: timedelta) -> Base:
    """Keep a verification that expired so long ago."""
    return Verification(
        number_digest=_id(1),
        nonce=_id(n),
        e164=NUMBER,
        requester=_id(3),
        country="DE",
        status="pending",
        channel="sms",
        code_length=6,
        key_id="00000000",
        created_at=NOW - age,
        expires_at=NOW - age,
    )


def decision(n: int, age: timedelta) -> Base:
    """Keep a decision of that age."""
    return Decision(
        number_digest=_id(1),
        verification_nonce=_id(2),
        id=_id(n),
        network=_id(3),
        country="DE",
        prefix="+4915112",
        number_type="mobile",
        channel="sms",
        resend=False,
        price_micros=0,
        solved=False,
        verdict="allow",
        rule_results="[]",
        created_at=NOW - age,
    )


def refusal(n: int, age: timedelta) -> Base:
    """Count the refusals of the minute that holds the moment of that age."""
    return Refusal(
        subject=_id(n),
        rule="velocity/network",
        minute=(NOW - age - EPOCH) // timedelta(minutes=1),
        country="DE",
        channel="sms",
        resend=False,
        verdict="challenge",
        requests=3,
        solved=0,
        service=False,
        number_type="mobile",
        price_micros=0,
        rule_results="[]",
        created_at=NOW - age,
        last_at=NOW - age,
    )


def proven_number(n: int, age: timedelta) -> Base:
    """Remember a number that was verified so long ago."""
    return ProvenNumber(number_digest=_id(n), proven_at=NOW - age)


def traffic_of_an_hour(n: int, age: timedelta) -> Base:
    """Keep the traffic of the hour that holds the moment of that age."""
    start = (NOW - age - EPOCH) // timedelta(hours=1)
    return Traffic(scope=f"+4915{n}", span="h", start=start, sends=1, verified=0)


def country_of_a_network(n: int, age: timedelta) -> Base:
    """Note a country whose note was over so long ago."""
    return NetworkCountry(network=_id(n), country="DE", until=NOW - age)


def spent_challenge(n: int, age: timedelta) -> Base:
    """Keep a used challenge that expired so long ago."""
    return SpentChallenge(number_digest=_id(1), nonce=_id(n), expires_at=NOW - age)


def idempotency_key(n: int, age: timedelta) -> Base:
    """Keep an idempotency key of that age."""
    return IdempotencyRecord(
        owner=_id(1), key=_id(n) * 2, fingerprint=_id(n) * 2, subject=_id(n), created_at=NOW - age
    )


def link(n: int, age: timedelta) -> Base:
    """Keep a link code that expired so long ago."""
    return DeviceLink(account_id=DEVICE, code_hash=_id(n) * 2, expires_at=NOW - age)


def retired(n: int, age: timedelta) -> Base:
    """Remember a token that was rotated out so long ago."""
    return RetiredToken(
        account_id=DEVICE, device_id=DEVICE, token_hash=_id(n) * 2, retired_at=NOW - age
    )


def service_token(n: int, age: timedelta) -> Base:
    """Keep a service's token that expired so long ago."""
    return ServiceToken(
        id=UUID(int=n),
        name="shop",
        scopes="scope",
        token_hash=_id(n) * 2,
        created_at=NOW - age,
        expires_at=NOW - age,
    )


def envelope(n: int, age: timedelta) -> Base:
    """Keep an envelope that expired so long ago."""
    return Envelope(
        device_id=DEVICE,
        seq=n,
        message_id=DEVICE,
        from_account_id=DEVICE,
        from_device_id=DEVICE,
        content=b"x",
        size=1,
        is_request=False,
        sent_at=NOW - age,
        expires_at=NOW - age,
    )


def consumed_prekey(n: int, age: timedelta) -> Base:
    """Keep that a one-time key was handed out so long ago."""
    return ConsumedPrekey(account_id=DEVICE, device_id=DEVICE, digest=_id(n), taken_at=NOW - age)


def sent_message(n: int, age: timedelta) -> Base:
    """Keep what a device sent so long ago."""
    return SentMessage(
        device_id=DEVICE,
        client_id=str(n),
        fingerprint=_id(n) * 2,
        message_id=DEVICE,
        accepted_at=NOW - age,
    )


def directory_change(n: int, age: timedelta) -> Base:
    """Keep a change of the directory that was made so long ago."""
    return DirectoryChange(
        seq=n, epoch=1, transaction_id=n, digest=_id(n) * 2, changed_at=NOW - age
    )


def lookup_budget(n: int, age: timedelta) -> Base:
    """Keep a budget that was charged so long ago."""
    at_us = (NOW - age - EPOCH) // TOUCH
    return DiscoveryBudget(
        subject=_id(n), spent=1, at_us=at_us, epoch=1, paid=1, free=0, recent=_id(n)
    )


DAY, TOUCH = timedelta(days=1), timedelta(microseconds=1)


def matrix_token(n: int, age: timedelta) -> Base:
    """An access token of the Matrix adapter, last used so long ago."""
    then = NOW - age
    return MatrixToken(
        matrix_user_id=UUID(int=n), token_hash=_id(n), created_at=then, last_used_at=then
    )


def matrix_user(n: int, age: timedelta) -> Base:
    """A user of it, last seen so long ago."""
    then = NOW - age
    return MatrixUser(
        id=UUID(int=n), user_id=f"@{n}:x", accepted="", created_at=then, last_used_at=then
    )


def matrix_session(n: int, age: timedelta) -> Base:
    """A validation session, whose last token was sent so long ago."""
    return MatrixSession(
        number_digest=_id(n),
        secret_hash=_id(n),
        nonce=_id(n),
        send_attempt=1,
        updated_at=NOW - age,
    )


def revoked_device(n: int, age: timedelta) -> Base:
    """A device whose tokens were revoked so long ago."""
    return Device(
        account_id=UUID(int=1000 + n),
        id=UUID(int=1000 + n),
        token_hash=b"",
        token_revoked_at=NOW - age,
        created_at=NOW - age,
        last_seen_at=NOW - age,
    )


def former_number(n: int, age: timedelta) -> Base:
    """A number whose account was last used so long ago."""
    return FormerNumber(number_digest=_id(n), number_id=UUID(int=n), last_seen_at=NOW - age)


def former_lock(n: int, age: timedelta) -> Base:
    """A lock of a number that its account left, which lapsed so long ago."""
    return FormerLock(
        number_digest=_id(n), account_id=UUID(int=n), pin_hash="argon2", lapses_at=NOW - age
    )


#: Job, what it deletes, and the greatest age at which that stays.
JOBS: list[tuple[str, Callable[[int, timedelta], Base], timedelta]] = [
    ("limits", limit, timedelta(0)),
    ("sends", send, 30 * DAY),
    ("routing outcomes", outcome, DAY),
    ("outbox", text, 7 * DAY),
    ("taken reports", report, 30 * DAY),
    ("smpp messages", smpp_message, 7 * DAY),
    ("verifications", verification, DAY),
    ("decisions", decision, 30 * DAY),
    ("refusals", refusal, 30 * DAY),
    ("proven numbers", proven_number, 365 * DAY),
    ("traffic", traffic_of_an_hour, timedelta(hours=25)),
    ("network countries", country_of_a_network, timedelta(0)),
    ("spent challenges", spent_challenge, timedelta(0)),
    ("idempotency keys", idempotency_key, DAY),
    ("device links", link, DAY),
    ("retired tokens", retired, 365 * DAY),
    ("revoked devices", revoked_device, 30 * DAY),
    ("former numbers", former_number, 120 * DAY - TOUCH),
    ("former locks", former_lock, timedelta(0)),
    ("service tokens", service_token, 90 * DAY),
    ("envelopes", envelope, -TOUCH),
    ("sent messages", sent_message, DAY),
    ("consumed prekeys", consumed_prekey, 90 * DAY),
    ("directory changes", directory_change, 2 * DAY),
    ("lookup budgets", lookup_budget, 500 * DAY),
    ("matrix tokens", matrix_token, 90 * DAY),
    ("matrix users", matrix_user, 180 * DAY),
    ("matrix sessions", matrix_session, 2 * DAY),
]


def store(database: Database, *rows: Base) -> None:
    """Store rows as they are."""
    with database.write() as connection:
        for row in rows:
            columns = type(row).__table__.columns
            values = {c.name: getattr(row, c.name) for c in columns}
            given = {name: value for name, value in values.items() if value is not None}
            connection.execute(insert(type(row)).values(given))


def fill(database: Database, rows: list[Base]) -> None:
    """Store rows, and the mailbox that envelopes wait in."""
    waiting = sum(isinstance(row, Envelope) for row in rows)
    mailbox = Mailbox(
        device_id=DEVICE,
        account_id=DEVICE,
        last_seq=9,
        acked_seq=0,
        urgent_seq=0,
        waiting=waiting,
        waiting_bytes=waiting,
    )
    store(database, mailbox, *rows)


def count(database: Database, model: type[Base]) -> int:
    """Count the rows of a table."""
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(model)) or 0


def test_everything_that_is_over_goes_and_nothing_else(app: OpenAPI) -> None:
    """Of each kind the row that is just over is deleted; the one at the boundary and newer stay."""
    kith = app.extensions["kith"]
    rows = [
        make(n, kept + extra)
        for _, make, kept in JOBS
        for n, extra in ((1, TOUCH), (2, timedelta(0)), (3, -timedelta(hours=1)))
    ]
    fill(kith.runtime.database, rows)
    deleted = kith.maintenance.run()
    assert deleted == {"unsettled sends": 0, "ended epochs": 0} | {name: 1 for name, _, _ in JOBS}
    for _, make, _ in JOBS:
        assert count(kith.runtime.database, type(make(1, DAY))) == 2
    with kith.runtime.database.read() as connection:
        assert connection.scalars(select(Mailbox.waiting)).one() == 2
        assert {bytes(row) for row in connection.scalars(select(Send.id))} == {_id(2), _id(3)}
    assert set(kith.maintenance.run().values()) == {0}


def test_sends_a_crash_left_are_settled(app: OpenAPI) -> None:
    """Those queued for more than five minutes become unknown; others stay as they are."""
    kith = app.extensions["kith"]
    five = timedelta(minutes=5)
    fill(
        kith.runtime.database, [queued(1, five + TOUCH), queued(2, five), send(3, DAY, "delivered")]
    )
    assert kith.maintenance.run()["unsettled sends"] == 1
    with kith.runtime.database.read() as connection:
        statuses = connection.scalars(select(Send.status).order_by(Send.id)).all()
    assert statuses == ["unknown", "queued", "delivered"]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch be three rows."""
    for module in (core_database, core_maintenance):
        monkeypatch.setattr(module, "PURGE_BATCH", 3)


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_batches(app: OpenAPI, small_batches: None, rows: int) -> None:
    """All that is over goes, however many batches that is, and is counted."""
    kith = app.extensions["kith"]
    fill(kith.runtime.database, [idempotency_key(n, 2 * DAY) for n in range(rows)])
    assert kith.maintenance.run()["idempotency keys"] == rows
    assert count(kith.runtime.database, IdempotencyRecord) == 0
    value = kith.runtime.metrics.registry.get_sample_value
    assert value("kith_purged_rows_total", {"job": "idempotency keys"}) == rows


class TestLease:
    """One process at a time."""

    def test_the_second_runner_gets_nothing(self, database: Database, clock: Clock) -> None:
        """While one is at work, the other is told so; afterwards it may work itself."""
        second = Maintenance(database, clock, Metrics(), [])
        given = []

        def look() -> datetime:
            # The time is asked for at the lease, in the job, and when the lease is given back.
            moment = len(looks)
            looks.append(moment)
            if moment == 2:
                given.append(second.run())
            return clock()

        looks: list[int] = []
        assert Maintenance(database, look, Metrics(), []).run() == {"limits": 0}
        assert given == [None]
        assert second.run() == {"limits": 0}

    def test_an_expired_lease_is_taken_over(self, database: Database, clock: Clock) -> None:
        """What a process left behind when it died holds nobody up for longer than the lease."""
        maintenance = Maintenance(database, clock, Metrics(), [])
        store(database, MaintenanceLease(name="purge", until=clock.now + LEASE))
        assert maintenance.run() is None
        clock.advance(LEASE.total_seconds() - 1)
        assert maintenance.run() is None
        clock.advance(1)
        assert maintenance.run() == {"limits": 0}

    def test_a_job_that_fails_gives_the_lease_back(self, database: Database, clock: Clock) -> None:
        """The next run starts at once, and what the failing job did is rolled back."""

        def broken(connection: Any, now: datetime) -> int:
            connection.execute(
                insert(RateLimitCounter).values(subject=_id(1), name="x", used=1, until_us=2**60)
            )
            raise ZeroDivisionError

        first = Maintenance(database, clock, Metrics(), [Job("broken", broken)])
        second = Maintenance(database, clock, Metrics(), [])
        with pytest.raises(ZeroDivisionError):
            first.run()
        assert second.run() == {"limits": 0}
        assert count(database, RateLimitCounter) == 0


def test_the_command(app: OpenAPI) -> None:
    """It says what was deleted, or that another process is at it."""
    kith = app.extensions["kith"]
    fill(kith.runtime.database, [text(n, 8 * DAY) for n in range(2)])
    done = app.test_cli_runner().invoke(args=["maintenance", "run"])
    assert done.exit_code == 0
    said: dict[str, Any] = dict(
        line.rsplit(None, 1) for line in done.output.splitlines()[-len(JOBS) - 2 :]
    )
    assert said["outbox"] == "2"
    assert len(said) == len(JOBS) + 2
    with kith.runtime.database.write() as connection:
        connection.execute(update(MaintenanceLease).values(until=NOW + LEASE))
    busy = app.test_cli_runner().invoke(args=["maintenance", "run"])
    assert (busy.exit_code, "Another process" in busy.output) == (0, True)


@pytest.mark.slow
def test_the_command_as_a_process(database_url: str, database: Database, tmp_path: Path) -> None:
    """Scheduled by the operator, it works on the database that the settings name."""
    old = datetime.now(UTC) - 8 * DAY
    store(database, OutboxMessage(to=NUMBER, body="x", channel="sms", sent_at=old))
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "maintenance", "run"],
        cwd=ROOT,
        env=os.environ | {"KITH_DATA_DIR": str(tmp_path), "KITH_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert any(line.split() == ["outbox", "1"] for line in done.stdout.splitlines())
    assert count(database, OutboxMessage) == 0
