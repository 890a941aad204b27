"""Fixtures of the tests of the policy: a service with rules of its own, and what is in its database."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import func, select

from core.clock import unix_microseconds
from core.database import Base
from core.rate_limit_statements import RateLimitCounter
from sms.models import Send
from tests.conftest import MakeApp
from tests.policies import write_policy
from tests.scripted import Scripted
from verification.policy.models import Decision, Refusal, Traffic

HERE = "198.51.100.7"
FRENCH, BRITISH = "+33612345678", "+447400123456"
ROUTING = """
currency = "EUR"
choice = { margin = 0.05, half_life_sends = 300, patience_seconds = 180 }
pins = { DE = ["one", "two"] }
[prices]
default = { sms = { default = 0.05 }, voice = { default = 0.05 } }
two = { sms = { default = SECOND }, voice = { default = 0.08 } }
"""


def number(n: int) -> str:
    """Give a German number of one prefix."""
    return f"+491511234{n:04d}"


class Service:
    """A service with a policy, and what is in its database."""

    def __init__(self, app: OpenAPI, providers: tuple[Scripted, ...]) -> None:
        self.app = app
        self.client = app.test_client()
        self.providers = providers
        self.database = app.extensions["kith"].runtime.database
        self.clock = app.extensions["kith"].runtime.clock

    def start(
        self, phone_number: str = number(1), by: str = HERE, key: str | None = None, **fields: Any
    ) -> Any:
        """Ask for a code, from an address."""
        return self.client.post(
            "/v1/verifications",
            json={"phone_number": phone_number, **fields},
            headers={"Idempotency-Key": key} if key else {},
            environ_overrides={"REMOTE_ADDR": by},
        )

    def again(self, identity: str, key: str | None = None, **fields: Any) -> Any:
        """Ask for the code again."""
        headers = {"Idempotency-Key": key} if key else {}
        return self.client.post(f"/v1/verifications/{identity}/sends", json=fields, headers=headers)

    def verify(self, phone_number: str, by: str = HERE) -> None:
        """Ask for a code and type it in."""
        identity = self.start(phone_number, by).json["id"]
        code = re.search(r"\d{6}", self.providers[0].taken[-1].body)
        assert code
        answer = self.client.post(f"/v1/verifications/{identity}/checks", json={"code": code[0]})
        assert answer.json["status"] == "verified"

    def rows(self, model: type[Base]) -> list[Any]:
        """Read a table."""
        with self.database.read() as connection:
            return list(connection.execute(select(*model.__table__.columns)))

    def decisions(self) -> list[Any]:
        """Read what was let through, oldest first."""
        return sorted(self.rows(Decision), key=lambda row: row.created_at)

    def refusals(self) -> list[Any]:
        """Read what was refused in each minute, oldest first."""
        return sorted(self.rows(Refusal), key=lambda row: row.created_at)

    def everything(self) -> dict[str, list[str]]:
        """Read every table but the decisions and refusals."""
        with self.database.read() as connection:
            return {
                table.name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
                for table in Base.metadata.sorted_tables
                if table.name not in ("decisions", "refusals")
            }

    def buckets(self) -> dict[tuple[bytes, str], int]:
        """Read how long each bucket takes to be empty; those that are, are left out."""
        now_us = unix_microseconds(self.clock())
        return {
            (row.subject, row.name): row.until_us - now_us
            for row in self.rows(RateLimitCounter)
            if row.name.startswith("sends") and row.until_us > now_us
        }

    def money(self) -> dict[str, int]:
        """Read what is spent, by budget; of each there is one here."""
        found = [row for row in self.rows(RateLimitCounter) if row.name.startswith("money-")]
        spent = {row.name: row.used for row in found}
        assert len(spent) == len(found)
        return spent

    def paid(self) -> int:
        """Add up the prices of all sends."""
        with self.database.read() as connection:
            return int(connection.scalar(select(func.coalesce(func.sum(Send.price_micros), 0))))

    def traffic(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Read how much was sent and verified; rows that everything was taken out of are left out."""
        rows = [row for row in self.rows(Traffic) if row.sends]
        return {(row.scope, row.span): (row.sends, row.verified) for row in rows}


Serve = Callable[..., Service]


@pytest.fixture
def serve(make_app: MakeApp, tmp_path: Path) -> Serve:
    """Serve with a policy of these rules."""

    def make(*rules: str, second_price: float | None = None, **settings: Any) -> Service:
        providers: tuple[Scripted, ...] = (Scripted("one"),)
        if second_price is not None:
            providers = (Scripted("one"), Scripted("two"))
            path = tmp_path / "routing.toml"
            path.write_text(ROUTING.replace("SECOND", str(second_price)))
            settings["routing_file"] = path
        policy = write_policy(tmp_path, *rules)
        app = make_app(ports={"providers": providers}, policy_file=policy, **settings)
        return Service(app, providers)

    return make
