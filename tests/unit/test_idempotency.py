"""Idempotency keys: claimed, answered, released, and left behind by a crash."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from core import idempotency
from core.database import Database
from core.idempotency import FirstRequest, identify
from core.idempotent_retries import IdempotentRetries
from core.problems import IdempotencyInProgress, IdempotencyKeyReused
from sms.models import Send
from sms.provider import BOTH, SmsMessage
from tests.conftest import KEY as LONG_KEY
from tests.conftest import NUMBER, Clock, MakeApp

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OWNER, SCOPE, SUBJECT = b"o" * 16, b"s" * 16, b"v" * 16
KEY = identify(OWNER, SCOPE, "start", "key", "{}")
PATIENCE = 30


def claim(database: Database, key: Any = KEY, subject: bytes = SUBJECT) -> FirstRequest | None:
    """Claim in a transaction of its own."""
    with database.write() as connection:
        return idempotency.claim(connection, key, subject, NOW)


def test_no_key_is_always_new(database: Database) -> None:
    """A request without a key is never an earlier one."""
    assert [claim(database, None) for _ in range(2)] == [None, None]


def test_what_makes_a_request_the_same() -> None:
    """Route, requester and key find it, its fields prove it, and no two run into each other."""
    keys = {
        identify(owner, scope, route, key, "{}")[:2]
        for owner in (OWNER, b"p" * 16)
        for scope in (SCOPE, b"t" * 16)
        for route in ("start", "send")
        for key in ("a", "b")
    }
    assert len(keys) == 16
    assert identify(OWNER, SCOPE, "start", "a", "{}") == identify(OWNER, SCOPE, "start", "a", "{}")
    other = identify(OWNER, SCOPE, "start", "a", '{"locale":"de"}')
    assert other.fingerprint != identify(OWNER, SCOPE, "start", "a", "{}").fingerprint


def test_a_claim_is_made_once(database: Database) -> None:
    """The second claim gets what is known of the first, and its answer once there is one."""
    assert claim(database) is None
    assert claim(database, subject=b"w" * 16) == FirstRequest(SUBJECT, None, NOW)
    with database.write() as connection:
        idempotency.answer(connection, KEY, '{"a": 1}')
    assert claim(database) == FirstRequest(SUBJECT, '{"a": 1}', NOW)


def test_another_request_with_the_key(database: Database) -> None:
    """The key of another request is refused, and what it made stays."""
    claim(database)
    with pytest.raises(IdempotencyKeyReused):
        claim(database, KEY._replace(fingerprint=b"x" * 32))
    assert claim(database) == FirstRequest(SUBJECT, None, NOW)


def test_a_released_claim_is_free(database: Database) -> None:
    """A request of which nothing stays may be made again."""
    claim(database)
    with database.write() as connection:
        idempotency.release(connection, KEY)
        assert idempotency.look_up(connection, KEY) is None
    assert claim(database) is None


def test_a_claim_goes_with_its_transaction(database: Database) -> None:
    """A claim of a transaction that is rolled back was never made."""
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        idempotency.claim(connection, KEY, SUBJECT, NOW)
        raise ZeroDivisionError
    assert claim(database) is None


def wait_while(database: Database, act: Any) -> FirstRequest | None:
    """Wait for the first request, and act once the wait has looked at it."""
    looked = threading.Event()

    def clock() -> datetime:
        looked.set()
        return NOW

    earlier = claim(database)
    assert earlier is not None
    repeats = IdempotentRetries(database, clock)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(repeats.wait, KEY, earlier)
        assert looked.wait(PATIENCE)
        with database.write() as connection:
            act(connection)
        return waiting.result(PATIENCE)


def test_waiting_ends_with_the_answer(database: Database) -> None:
    """Who waits gets the first request's answer when it is there."""
    claim(database)
    found = wait_while(database, lambda connection: idempotency.answer(connection, KEY, "{}"))
    assert found == FirstRequest(SUBJECT, "{}", NOW)


def test_waiting_ends_with_a_release(database: Database) -> None:
    """Who waits is told that nothing came of the first request."""
    claim(database)
    assert wait_while(database, lambda connection: idempotency.release(connection, KEY)) is None


def test_an_answer_is_given_without_waiting(database: Database) -> None:
    """An earlier request that was answered is not looked for again."""
    earlier = FirstRequest(SUBJECT, "{}", NOW)
    assert IdempotentRetries(database, lambda: NOW).wait(KEY, earlier) is earlier


def test_patience_ends(database: Database) -> None:
    """Who waited long enough is told to ask again, and when."""
    claim(database)
    earlier = claim(database)
    assert earlier is not None
    repeats = IdempotentRetries(database, lambda: NOW + timedelta(seconds=119), patience=0.05)
    with pytest.raises(IdempotencyInProgress) as refused:
        repeats.wait(KEY, earlier)
    assert refused.value.retry_after == 2


def test_a_crash_is_told_by_time(database: Database) -> None:
    """After two minutes without an answer nobody waits: what was made is told, without an answer."""
    claim(database)
    earlier = claim(database)
    assert earlier is not None
    found = IdempotentRetries(database, lambda: NOW + timedelta(seconds=120)).wait(KEY, earlier)
    assert found == FirstRequest(SUBJECT, None, NOW)


def looks(database: Database) -> list[str]:
    """Collect the statements that look for an earlier request."""
    found: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("SELECT") and "idempotency_keys" in statement:
            found.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    return found


def test_who_waits_here_is_woken_and_looks_once(database: Database) -> None:
    """Of 40 repeats while the first runs in this process each looks once, after it has ended."""
    claim(database)
    earlier = claim(database)
    assert earlier is not None
    repeats, found = IdempotentRetries(database, lambda: NOW), looks(database)
    with ThreadPoolExecutor(40) as pool:
        with repeats.wake(KEY):
            waiting = [pool.submit(repeats.wait, KEY, earlier) for _ in range(40)]
            time.sleep(1)
            assert found == []
            with database.write() as connection:
                idempotency.answer(connection, KEY, "{}")
        assert {each.result(PATIENCE) for each in waiting} == {FirstRequest(SUBJECT, "{}", NOW)}
    assert len(found) == 40


@pytest.mark.slow
def test_one_looks_for_all_who_wait_for_another_process(database: Database) -> None:
    """Of 40 repeats while the first runs elsewhere one looks, ever more seldom, and wakes the others."""
    claim(database)
    earlier = claim(database)
    assert earlier is not None
    repeats, found = IdempotentRetries(database, lambda: NOW), looks(database)
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(repeats.wait, KEY, earlier) for _ in range(40)]
        time.sleep(2)
        # After 0.05, 0.15, 0.35, 0.75 and 1.55 seconds.
        assert 1 <= len(found) <= 5
        with database.write() as connection:
            idempotency.answer(connection, KEY, "{}")
        assert {each.result(PATIENCE) for each in waiting} == {FirstRequest(SUBJECT, "{}", NOW)}
    assert len(found) <= 5 + 1 + 39


@pytest.mark.slow
def test_a_first_request_that_fails_wakes_its_repeats(database: Database) -> None:
    """What it raises is its own; who waited looks, and waits on for what is not over."""
    claim(database)
    earlier = claim(database)
    assert earlier is not None
    repeats = IdempotentRetries(database, lambda: NOW, patience=2)
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ZeroDivisionError), repeats.wake(KEY):
            waiting = pool.submit(repeats.wait, KEY, earlier)
            time.sleep(0.2)
            raise ZeroDivisionError
        with pytest.raises(IdempotencyInProgress):
            waiting.result(PATIENCE)


@pytest.mark.parametrize(
    ("key", "secret"), [(None, False), ("register-1", False), ("x" * 21, False), ("x" * 22, True)]
)
def test_which_keys_are_secrets(key: str | None, secret: bool) -> None:
    """128 bits as base64url have 22 characters; a shorter key may be somebody else's too."""
    assert idempotency.is_secret(key) == secret


class Crash(BaseException):
    """The process ends here: nothing catches it."""


class Crashing:
    """A provider in whose call the process dies, as often as it is told."""

    name = "crashing"
    channels = BOTH

    def __init__(self) -> None:
        self.crashes = 1
        self.called = 0

    def send(self, message: SmsMessage) -> str:
        """Take it, then die before anybody hears of it."""
        self.called += 1
        if self.called <= self.crashes:
            raise Crash
        return "id"


def test_a_start_cut_off_by_a_crash(make_app: MakeApp, clock: Clock) -> None:
    """A repeat waits until two minutes have passed, then is told the verification; nothing is sent."""
    provider = Crashing()
    app = make_app(ports={"providers": (provider,)})
    client = app.test_client()

    def start() -> Any:
        return client.post(
            "/v1/verifications",
            json={"phone_number": NUMBER},
            headers={"Idempotency-Key": LONG_KEY},
        )

    with pytest.raises(Crash):
        start()
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(start)
        time.sleep(0.3)
        assert not early.done()
        clock.advance(120)
        first, second = early.result(PATIENCE), start()
    assert first.status_code == 201
    assert first.json == second.json
    assert first.json["status"] == "pending"
    assert client.get(f"/v1/verifications/{first.json['id']}").json == first.json
    assert provider.called == 1

    again = client.post(f"/v1/verifications/{first.json['id']}/sends", json={})
    assert again.status_code == 201
    assert provider.called == 2


def test_a_send_cut_off_by_a_crash_is_unknown(make_app: MakeApp, clock: Clock) -> None:
    """Periodic work settles what a crash left queued: nobody knows, and nobody sends it again."""
    provider = Crashing()
    app = make_app(ports={"providers": (provider,)})
    with pytest.raises(Crash):
        app.test_client().post("/v1/verifications", json={"phone_number": NUMBER})
    kith = app.extensions["kith"]

    def status() -> str:
        with kith.runtime.database.read() as connection:
            return str(connection.scalars(select(Send.status)).one())

    clock.advance(300)
    assert kith.maintenance.run()["unsettled sends"] == 0
    assert status() == "queued"
    clock.advance(1)
    assert kith.maintenance.run()["unsettled sends"] == 1
    assert status() == "unknown"
    assert kith.maintenance.run()["unsettled sends"] == 0
    assert provider.called == 1
