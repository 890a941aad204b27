"""Fixtures: the application on both databases, a clock to turn, and people to register."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import flask_openapi3.blueprint
import flask_openapi3.utils
import hypothesis
import pytest
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST
from flask_openapi3 import OpenAPI
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app import Ports, create_app
from core.database import Database
from settings import Settings
from tests.contract.openapi import ContractClient
from tests.databases import fresh_database_url

# On CI the same examples every time, so that a red run is about the change; at home new ones.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("home", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "home")

NUMBER = "+4915112345678"
OTHER_NUMBER = "+33612345678"
#: Long enough that its request's answer is told again; a shorter one is not.
KEY = "a-key-that-nobody-else-has"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests whose parameters name PostgreSQL, for `-m "not postgresql"`."""
    if "postgresql" in item.name.partition("[")[2]:
        item.add_marker("postgresql")


def _share_between_applications() -> None:
    """Make once what werkzeug and flask-openapi3 make anew for every application.

    URL builders and JSON schemas of models are most of what a test pays for its application.
    """
    compile_builder = Rule._compile_builder
    builders: dict[tuple[Any, ...], Any] = {}

    def shared(rule: Rule, append_unknown: bool = True) -> Any:
        key = (*rule._trace, repr(rule.defaults), append_unknown)
        if key not in builders:
            builders[key] = compile_builder(rule, append_unknown)
        return builders[key]

    Rule._compile_builder = shared  # type: ignore[method-assign]
    for name in ("get_model_schema", "parse_body", "parse_path", "parse_query", "parse_header"):
        setattr(flask_openapi3.utils, name, cache(getattr(flask_openapi3.utils, name)))

    describe_responses = flask_openapi3.blueprint.get_responses
    described: dict[str, tuple[dict[str, Any], Any]] = {}

    def shared_responses(responses: Any, schemas: dict[str, Any], operation: Any) -> None:
        key = repr(responses)
        if key not in described:
            own: dict[str, Any] = {}
            describe_responses(responses, own, operation)
            described[key] = own, operation.responses
        own, operation.responses = described[key]
        schemas.update(own)

    flask_openapi3.blueprint.get_responses = shared_responses


_share_between_applications()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith("KITH_"):
            monkeypatch.delenv(name)


@dataclass
class Clock:
    """A clock that stands still until it is told to go on."""

    now: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Give the time."""
        return self.now

    def advance(self, seconds: float = 0, **units: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds, **units)


@dataclass
class Person:
    """Someone with an account and one device."""

    phone_number: str
    account_id: str
    device_id: str
    token: str
    reregistered: bool
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Build what authenticates her."""
        self.headers = {"Authorization": f"Bearer {self.token}"}


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Each database, one after the other."""
    return str(request.param)


@pytest.fixture
def database_url(dialect: str, tmp_path: Path) -> str:
    """The address of an empty, migrated database."""
    return fresh_database_url(dialect, tmp_path)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty, migrated database."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def clock() -> Clock:
    """The clock of the application."""
    return Clock()


MakeApp = Callable[..., OpenAPI]


@pytest.fixture
def make_app(database_url: str, clock: Clock, tmp_path: Path) -> Iterator[MakeApp]:
    """Make applications on the test's database; settings by keyword, `ports` to replace a seam."""
    made: list[OpenAPI] = []

    def make(ports: dict[str, Any] | None = None, **settings: Any) -> OpenAPI:
        values = {"data_dir": tmp_path, "database_url": database_url, "maintenance_interval": 0}
        app = create_app(
            Settings(**(values | settings)),
            Ports(
                **(
                    {"clock": clock, "hasher": PasswordHasher.from_parameters(CHEAPEST)}
                    | (ports or {})
                )
            ),
        )
        app.test_client_class = ContractClient
        made.append(app)
        return app

    yield make
    for thread in threading.enumerate():
        if thread.name == "commits":
            thread.join()
    for app in made:
        app.extensions["kith"].runtime.database.close()


@pytest.fixture
def app(make_app: MakeApp) -> OpenAPI:
    """The application with default settings."""
    return make_app()


@pytest.fixture
def client(app: OpenAPI) -> ContractClient:
    """A client that holds every answer against the OpenAPI document."""
    client = app.test_client()
    assert isinstance(client, ContractClient)
    return client


def problem_code(response: TestResponse) -> str:
    """Give the problem code of a refusal."""
    assert response.content_type == "application/problem+json", response.text
    return str(response.json["type"]).removeprefix("/problems/")  # type: ignore[index]


@pytest.fixture
def read_code(client: ContractClient) -> Callable[[str], str]:
    """Read the newest code of a number from the outbox, as a person reads her phone."""

    def read(number: str) -> str:
        messages = client.get("/dev/outbox.json", query_string={"to": number}).json["messages"]
        return re.search(r"\d{6,8}", messages[0]["body"]).group()  # type: ignore[union-attr]

    return read


@pytest.fixture
def verify(client: ContractClient, read_code: Callable[[str], str]) -> Callable[..., str]:
    """Prove a number and give the verification's id."""

    def prove(number: str = NUMBER, **request: Any) -> str:
        started = client.post("/v1/verifications", json={"phone_number": number}, **request)
        assert started.status_code == 201, started.text
        identity = str(started.json["id"])
        checked = client.post(
            f"/v1/verifications/{identity}/checks", json={"code": read_code(number)}
        )
        assert checked.status_code == 200, checked.text
        return identity

    return prove


@pytest.fixture
def register(client: ContractClient, verify: Callable[..., str]) -> Callable[..., Person]:
    """Prove a number and register a device for it."""

    def make(number: str = NUMBER, **fields: Any) -> Person:
        body = {"verification_id": verify(number), **fields}
        answer = client.post("/v1/registrations", json=body)
        assert answer.status_code == 201, answer.text
        done = answer.json
        return Person(
            done["phone_number"],
            done["account_id"],
            done["device_id"],
            done["device_token"],
            done["reregistered"],
        )

    return make


@pytest.fixture
def bound(app: OpenAPI, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give mailboxes less room than the settings may."""
    messages = app.extensions["kith"].messaging.messages

    def give(**bounds: int) -> None:
        quota = replace(messages._batches.quota, **bounds)
        monkeypatch.setattr(messages._batches, "quota", quota)

    return give
