"""What every text, resend and check asks the database is found by an index, however much is there."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import Connection, event, insert

from core.clock import unix_microseconds
from core.database import Base, Database
from core.rate_limit_statements import RateLimitCounter
from sms.models import Send
from sms.provider import SmsMessage, Unavailable
from tests.conftest import NUMBER, Clock, MakeApp
from tests.policies import budget, conversion, countries, solve, velocity, write_policy
from tests.scripted import Scripted
from verification.models import Verification
from verification.policy.models import Decision, NetworkCountry, SpentChallenge, Traffic

ROWS = 3_000
NOW = Clock.now
#: What grows with every text.
HOT = (
    *("decisions", "traffic", "limits", "network_countries", "spent_challenges", "sends"),
    "verifications",
)


def _id(n: int) -> bytes:
    return n.to_bytes(16, "big")


def _fill(connection: Connection) -> None:
    """Let there be a history of many numbers, prefixes and networks."""
    now_us = unix_microseconds(NOW)
    tables: dict[type[Base], list[dict[str, Any]]] = {
        Decision: [
            {
                "number_digest": _id(n % 900),
                "verification_nonce": _id(n),
                "id": _id(n),
                "network": _id(n % 700),
                "country": "DE",
                "prefix": f"+4915{n % 500:04d}",
                "number_type": "mobile",
                "channel": "sms",
                "resend": False,
                "price_micros": 50_000,
                "solved": False,
                "verdict": "allow",
                "rule_results": "[]",
                "created_at": NOW - timedelta(minutes=n),
            }
            for n in range(ROWS)
        ],
        Traffic: [
            {
                "scope": f"+4915{n % 500:04d}",
                "span": "hd"[n % 2],
                "start": n,
                "sends": 3,
                "verified": 2,
            }
            for n in range(ROWS)
        ],
        RateLimitCounter: [
            {"subject": _id(n), "name": name, "used": 1, "until_us": now_us + n}
            for n in range(ROWS // 5)
            for name in ("sends", "sends-number", "sends-network", "sends-prefix", "money-prefix")
        ],
        NetworkCountry: [
            {"network": _id(n // 3), "country": ("DE", "FR", "GB")[n % 3], "until": NOW}
            for n in range(ROWS)
        ],
        SpentChallenge: [
            {"number_digest": _id(n % 900), "nonce": _id(n), "expires_at": NOW} for n in range(ROWS)
        ],
        Verification: [
            {
                "number_digest": _id(n % 900),
                "nonce": _id(n),
                "e164": f"+4915{n % 900:08d}",
                "country": "DE",
                "requester": _id(n % 700),
                "status": ("verified", "pending", "canceled")[n % 3],
                "channel": "sms",
                "code_length": 6,
                "key_id": "0" * 8,
                "checks_used": 1,
                "sms_count": 1,
                "call_count": 0,
                "created_at": NOW - timedelta(minutes=n),
                "expires_at": NOW + timedelta(minutes=n),
                "reregistered": False,
            }
            for n in range(ROWS)
        ],
        Send: [
            {
                "number_digest": _id(n % 900),
                "id": _id(n),
                "verification_nonce": _id(n),
                "channel": "sms",
                "provider": "one",
                "country": "DE",
                "prefix": f"+4915{n % 500:04d}",
                "first": True,
                "price_micros": 50_000,
                "status": "delivered",
                "created_at": NOW - timedelta(minutes=n),
                "updated_at": NOW,
            }
            for n in range(ROWS)
        ],
    }
    for model, rows in tables.items():
        connection.execute(insert(model), rows)


@pytest.fixture
def policy_app(make_app: MakeApp, tmp_path: Any) -> OpenAPI:
    """An application with every rule that counts, and two providers to fail over between."""
    policy = write_policy(
        tmp_path,
        *(
            velocity(of, 100)
            for of in ("number-and-requester", "number", "subnet", "prefix", "country")
        ),
        velocity("network", 2, over="challenge"),
        countries(10),
        conversion("prefix", 100, 100),
        conversion("country", 100, 100),
        *(budget(of, 100.0) for of in ("total", "country", "prefix")),
    )
    return make_app(ports={"providers": (Scripted("one"), Scripted("two"))}, policy_file=policy)


@pytest.fixture
def statements(policy_app: OpenAPI) -> Iterator[dict[str, Any]]:
    """Collect what is asked, once each, with the values it was asked with."""
    seen: dict[str, Any] = {}

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        seen.setdefault(statement, parameters[0] if many else parameters)

    engine = policy_app.extensions["kith"].runtime.database.engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def live(app: OpenAPI, clock: Clock) -> None:
    """Ask for codes, again, over a soft limit too, and type one in."""
    client = app.test_client()
    providers = app.extensions["kith"].sms.providers.values()
    sent: list[SmsMessage] = []
    for provider in providers:
        provider.before_answer = sent.append
    body = {"phone_number": NUMBER}
    started = client.post("/v1/verifications", json=body)
    path = f"/v1/verifications/{started.json['id']}/sends"
    clock.advance(60)
    for provider in providers:
        provider.faults = [Unavailable()]
    assert client.post(path, json={}).status_code == 503
    assert client.post(path, json={}).status_code == 201
    asked = client.post("/v1/verifications", json=body)
    solution = solve(asked.json["challenge"])
    solved = client.post("/v1/verifications", json=body | {"challenge_solution": solution})
    code = re.search(r"\d{6}", sent[-1].body)
    assert code
    path = f"/v1/verifications/{solved.json['id']}/checks"
    assert client.post(path, json={"code": code[0]}).status_code == 200


def plan(connection: Connection, statement: str, parameters: Any) -> str:
    """Say how the database would go about it."""
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
    return "\n".join(str(row[-1]) for row in rows)


def test_nothing_on_the_way_of_a_text_scans_a_table(
    policy_app: OpenAPI, statements: dict[str, Any], clock: Clock
) -> None:
    """Each statement that touches a table which grows with the traffic finds its rows by an index."""
    database: Database = policy_app.extensions["kith"].runtime.database
    with database.write() as connection:
        _fill(connection)
    with database.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    statements.clear()
    live(policy_app, clock)
    asked = {
        statement: parameters
        for statement, parameters in statements.items()
        if re.match(r"(SELECT|INSERT|UPDATE|DELETE)\b", statement)
    }
    statements.clear()
    touched = {name for name in HOT if any(re.search(rf"\b{name}\b", one) for one in asked)}
    assert touched == set(HOT)
    scan = re.compile(rf"(?:Seq Scan on|SCAN) (?:{'|'.join(HOT)})\b")
    with database.write() as connection:
        # The pattern is that of a scan on both databases, or it would find none.
        assert scan.search(plan(connection, "SELECT * FROM sends WHERE price_micros = 1", ()))
        plans = {one: plan(connection, one, parameters) for one, parameters in asked.items()}
    assert {statement: one for statement, one in plans.items() if scan.search(one)} == {}
