"""The report: figures that can be counted by hand, found without looking at older rows."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask_openapi3 import OpenAPI
from sqlalchemy import text

from core.database import Database, table
from sms.models import Send
from sms.provider import Unavailable
from tests.conftest import Clock, MakeApp
from tests.policies import velocity, write_policy
from tests.scripted import Scripted
from verification.policy.models import Decision, Refusal
from verification.policy.refusals import minute_of
from verification.report import Dimension, Report, ReportRow, _select_rows, report

NOW = Clock.now
_IDS = count(1)


def name() -> bytes:
    """Name each thing differently."""
    return next(_IDS).to_bytes(16, "big")


class Rows:
    """Writes what the service would have written."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def write(self, model: Any, **values: Any) -> None:
        """Write a row."""
        with self.database.write() as connection:
            connection.execute(table(model).insert(), values)

    def send(
        self,
        country: str,
        provider: str,
        status: str,
        *,
        verification: bytes | None = None,
        at: datetime = NOW - timedelta(hours=1),
        prefix: str = "+4915112",
        price_micros: int = 50_000,
        seconds: float | None = None,
    ) -> bytes:
        """Record a send, the first of its verification or one after it; give the verification."""
        of = verification or name()
        self.write(
            Send,
            number_digest=b"n" * 16,
            id=name(),
            verification_nonce=of,
            channel="sms",
            provider=provider,
            country=country,
            prefix=prefix,
            first=verification is None,
            price_micros=price_micros,
            status=status,
            created_at=at,
            updated_at=at,
            verified_at=None if seconds is None else at + timedelta(seconds=seconds),
        )
        return of

    def refuse_often(
        self, country: str, verdict: str, requests: int, prefix: str | None, **values: Any
    ) -> None:
        """Record how many texts a rule of the policy refused in a minute."""
        at = values.pop("at", NOW - timedelta(hours=1))
        self.write(
            Refusal,
            **{
                "subject": name(),
                "rule": "velocity/network",
                "minute": minute_of(at),
                "country": country,
                "channel": "sms",
                "resend": False,
                "verdict": verdict,
                "requests": requests,
                "solved": 0,
                "prefix": prefix,
                "service": False,
                "number_type": "mobile",
                "price_micros": 50_000,
                "rule_results": "[]",
                "created_at": at,
                "last_at": at,
            }
            | values,
        )

    def refuse(self, country: str, verdict: str, *, resend: bool = False) -> None:
        """Record that the policy refused a text, as it was recorded before refusals were counted."""
        self.write(
            Decision,
            number_digest=b"n" * 16,
            verification_nonce=name(),
            id=name(),
            network=b"w" * 16,
            country=country,
            prefix="+4915112",
            number_type="mobile",
            channel="sms",
            resend=resend,
            price_micros=50_000,
            solved=False,
            verdict=verdict,
            rule="velocity/network",
            rule_results="[]",
            created_at=NOW - timedelta(hours=1),
        )

    def report(self, *by: Dimension, limit: int = 50, **options: Any) -> Report:
        """Report on the last day."""
        with self.database.read() as connection:
            return report(connection, NOW - timedelta(days=1), by, limit=limit, **options)


@pytest.fixture
def rows(database: Database) -> Rows:
    """Two countries, two providers, and everything that can become of a verification."""
    rows = Rows(database)
    for seconds in (10, 20, 40, 300):
        rows.send("DE", "one", "delivered", seconds=seconds)
    rows.send("DE", "one", "sent")
    # Its provider failed, and the next took it: it is the next one's.
    over = rows.send("DE", "one", "failed", price_micros=0)
    rows.send("DE", "two", "unknown", verification=over, price_micros=70_000, seconds=30)
    # Nobody took it.
    rows.send("DE", "two", "failed", price_micros=0)
    # Asked for again, and it did not arrive either time.
    twice = rows.send("FR", "one", "undelivered", prefix="+3361234")
    rows.send("FR", "one", "undelivered", prefix="+3361234", verification=twice)
    rows.refuse("DE", "challenge")
    rows.refuse("DE", "deny")
    # None of these is a start of the last day.
    old = rows.send("DE", "one", "sent", at=NOW - timedelta(days=2))
    rows.send("DE", "one", "delivered", verification=old)
    rows.refuse("DE", "deny", resend=True)
    return rows


def figures(funnel: ReportRow) -> tuple[object, ...]:
    """Return started, challenged, denied, sent, delivered, verified, seconds, money."""
    return (
        funnel.started,
        funnel.challenged,
        funnel.denied,
        funnel.sent,
        funnel.delivered,
        funnel.verified,
        funnel.median_seconds and round(funnel.median_seconds, 3),
        funnel.money_micros,
    )


def test_by_country(rows: Rows) -> None:
    """Each country has its own figures, the busiest first, and all are added up."""
    found = rows.report("country")
    assert [(each.group, figures(each)) for each in found.rows] == [
        ({"country": "DE"}, (9, 1, 1, 6, 4, 5, 30.0, 320_000)),
        ({"country": "FR"}, (1, 0, 0, 1, 0, 0, None, 100_000)),
    ]
    assert figures(found.total) == (10, 1, 1, 7, 4, 5, 30.0, 420_000)
    assert found.rows[0].conversion == pytest.approx(5 / 6)
    assert found.rows[0].price == pytest.approx(0.064)
    assert found.rows[1].price is None


def test_by_provider(rows: Rows) -> None:
    """A verification is its provider's who took its first text; what was refused is nobody's."""
    found = rows.report("provider")
    assert [(each.group["provider"], figures(each)) for each in found.rows] == [
        ("one", (6, 0, 0, 6, 4, 4, 30.0, 350_000)),
        *sorted(
            [
                (None, (2, 1, 1, 0, 0, 0, None, 0)),
                ("two", (2, 0, 0, 1, 0, 1, 30.0, 70_000)),
            ],
            key=lambda row: (row[0] is None) == (rows.database.dialect == "postgresql"),
        ),
    ]


def test_by_several_of_one_country(rows: Rows) -> None:
    """Groups combine, a country can be picked, and rows beyond the limit are told."""
    found = rows.report("country", "prefix", "provider", country="DE", limit=1)
    assert [each.group for each in found.rows] == [
        {"country": "DE", "prefix": "+4915112", "provider": "one"}
    ]
    assert found.more == 2
    assert found.total.started == 9


def test_nothing_happened(database: Database) -> None:
    """An empty time has a total of nothing."""
    found = Rows(database).report("prefix")
    assert found.rows == [] and found.more == 0
    assert figures(found.total) == (0, 0, 0, 0, 0, 0, None, 0)
    assert found.total.conversion is None and found.total.price is None


def test_only_the_time_that_is_asked_about_is_read(database: Database) -> None:
    """Both tables are entered by the index on their time, on either database."""
    statement = _select_rows(database.dialect, NOW, ("country", "provider"), None)
    compiled = statement.compile(database.engine)
    explain = "EXPLAIN QUERY PLAN " if database.dialect == "sqlite" else "EXPLAIN "
    with database.engine.begin() as connection:
        if database.dialect == "postgresql":
            # Of a table with no rows it would read all of them; the question is what it could do.
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        parameters: Any = compiled.params
        if database.dialect == "sqlite":
            parameters = tuple(
                str(value) if isinstance(value, datetime) else value
                for value in (compiled.params[key] for key in compiled.positiontup or ())
            )
        plan = "\n".join(
            str(tuple(row))
            for row in connection.exec_driver_sql(explain + str(compiled), parameters)
        )
    for name in ("sends", "decisions"):
        assert f"ix_{name}_created_at" in plan, plan
        assert f"SCAN {name}" not in plan and f"Seq Scan on {name}" not in plan, plan


def run(app: OpenAPI, arguments: Sequence[str]) -> Result:
    """Run the command."""
    return app.test_cli_runner().invoke(args=["verification", "report", *arguments])


def test_command_reports_what_people_did(
    app: OpenAPI, verify: Callable[..., str], client: Any, clock: Clock
) -> None:
    """One person verified, one did not: both are in the table, in JSON and in the metrics."""
    verify()
    client.post("/v1/verifications", json={"phone_number": "+33612345678"})
    clock.advance(10)
    document = json.loads(run(app, ["--by", "country", "--by", "provider", "--json"]).stdout)
    germany = next(row for row in document["rows"] if row["country"] == "DE")
    assert germany["provider"] == "outbox"
    assert (germany["started"], germany["sent"], germany["verified"]) == (1, 1, 1)
    assert germany["price_of_a_verified_number"] == pytest.approx(0.05)
    assert document["total"]["started"] == 2 and document["total"]["verified"] == 1
    lines = run(app, ["--limit", "1"]).stdout.splitlines()
    assert lines[0].split()[:3] == ["country", "started", "challenged"]
    assert any(line.split()[:2] == ["all", "2"] for line in lines)
    assert lines[-1].startswith("1 more row")

    metrics = client.get("/metrics").text.splitlines()
    for line in (
        'kith_funnel_total{country="DE",provider="outbox",step="started"} 1.0',
        'kith_funnel_total{country="DE",provider="outbox",step="sent"} 1.0',
        'kith_funnel_total{country="DE",provider="outbox",step="delivered"} 1.0',
        'kith_funnel_total{country="DE",provider="outbox",step="verified"} 1.0',
        'kith_funnel_total{country="FR",provider="outbox",step="started"} 1.0',
        'kith_spent_micros_total{country="FR",provider="outbox"} 50000.0',
        'kith_seconds_to_verify_count{country="DE"} 1.0',
    ):
        assert line in metrics
    assert not any("FR" in line and 'step="verified"' in line for line in metrics)


def test_command_refuses_what_it_does_not_know(app: OpenAPI) -> None:
    """Countries, groups and limits are held against what there is."""
    for wrong in (["--country", "Germany"], ["--by", "colour"], ["--limit", "0"], ["--since", "x"]):
        assert run(app, wrong).exit_code == 2


def test_metrics_count_who_sent_it_and_who_was_refused(make_app: MakeApp, tmp_path: Path) -> None:
    """What fell to another provider is that one's, at its price; what was refused is nobody's."""
    away, there = Scripted("outbox"), Scripted("twilio")
    away.faults = [Unavailable() for _ in range(2)]
    policy = write_policy(tmp_path, velocity("network", 2))
    app = make_app({"providers": (away, there)}, policy_file=policy, sms_provider="outbox")
    client = app.test_client()
    statuses = [
        client.post("/v1/verifications", json={"phone_number": f"+491511234567{last}"}).status_code
        for last in range(3)
    ]
    assert statuses == [201, 201, 428]
    registry = app.extensions["kith"].runtime.metrics.registry

    def counted(name: str, provider: str, **labels: str) -> float:
        value = registry.get_sample_value(name, {"country": "DE", "provider": provider, **labels})
        return value or 0.0

    steps = {
        step: [
            counted("kith_funnel_total", name, step=step) for name in ("outbox", "twilio", "none")
        ]
        for step in ("started", "sent", "refused")
    }
    assert sum(steps["started"]) == 2
    assert steps["sent"] == [0, 2, 0]
    assert steps["refused"] == [0, 0, 1]
    assert counted("kith_spent_micros_total", "twilio") == 100_000
    assert counted("kith_spent_micros_total", "outbox") == 0


def test_refusals_weigh_by_their_count(rows: Rows) -> None:
    """Each request of a minute is a start; those of several prefixes belong to none."""
    rows.refuse_often("DE", "challenge", 40, "+4915112")
    rows.refuse_often("DE", "deny", 5, None)
    rows.refuse_often("DE", "deny", 99, None, resend=True)
    rows.refuse_often("DE", "deny", 99, None, at=NOW - timedelta(days=2))
    report = rows.report("country", "prefix")
    counted = {(row.group["country"], row.group["prefix"]): figures(row)[:3] for row in report.rows}
    # Seven were sent or tried, and one was refused each way before.
    assert counted["DE", "+4915112"] == (9 + 40, 1 + 40, 1)
    assert counted["DE", None] == (5, 0, 5)
    assert report.total.started == sum(started for started, *_ in counted.values())
