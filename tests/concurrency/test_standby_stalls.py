"""A synchronous standby that stalls: nobody is told what may be lost, nothing is sent or stored twice."""

import re
from collections.abc import Callable, Iterator

import pytest
from flask_openapi3 import OpenAPI
from werkzeug.test import TestResponse

from core.database import Database
from core.postgresql import Timeouts
from sms.provider import BOTH, SmsMessage
from tests.conftest import NUMBER, OTHER_NUMBER, Clock, MakeApp, Person, problem_code
from tests.contract.openapi import ContractClient
from tests.postgresql import Server, servers, wait_until

#: One process starts the servers for all of them.
pytestmark = pytest.mark.xdist_group("servers")


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary whose commits wait for its standby."""
    with servers() as make:
        primary = make()
        standby = make(of=primary)
        primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        primary.ask("SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication LIMIT 1"
        wait_until(lambda: primary.ask(state) == "sync")
        yield primary, standby


@pytest.fixture
def app(make_app: MakeApp, pair: tuple[Server, Server]) -> OpenAPI:
    """The application, which waits a second for a commit."""
    return make_app({"database": Database(pair[0].url(), timeouts=Timeouts(commit=1))})


@pytest.fixture
def database_url(pair: tuple[Server, Server]) -> str:
    """The address of the primary."""
    return pair[0].url()


def test_what_is_repeated_is_done_once(
    client: ContractClient,
    clock: Clock,
    register: Callable[..., Person],
    pair: tuple[Server, Server],
) -> None:
    """A text that costs money, and a message: unknown while it stalls, and once when it is back."""
    _, standby = pair
    anna, ben = register("+4915112345601"), register("+4915112345602")

    def start() -> tuple[int, str]:
        answer = client.post(
            "/v1/verifications",
            json={"phone_number": OTHER_NUMBER},
            headers={"Idempotency-Key": "6f1e5d1c-9f0b-4c53-8a35-9d1f4c1d2a77"},
        )
        return answer.status_code, problem_code(answer) if answer.status_code != 201 else "ok"

    def send() -> tuple[int, str]:
        body = {
            "to": ben.account_id,
            "client_id": "m1",
            "envelopes": [{"device_id": ben.device_id, "content": "aGVsbG8"}],
        }
        answer = client.post("/v1/messages", json=body, headers=anna.headers)
        return answer.status_code, problem_code(answer) if answer.status_code != 202 else "ok"

    def texts() -> int:
        return len(
            client.get("/dev/outbox.json", query_string={"to": OTHER_NUMBER}).json["messages"]
        )

    standby.stop()
    for _ in range(2):
        assert start() == (503, "outcome-unknown")
        assert send() == (503, "outcome-unknown")
    assert texts() == 0
    standby.start()
    assert [send(), send()] == [(202, "ok")] * 2
    waiting = client.get("/v1/messages", headers=ben.headers).json["messages"]
    assert len(waiting) == 1
    # Whoever began it is not at it any more; that is known after two minutes.
    clock.advance(121)
    assert [start(), start()] == [(201, "ok")] * 2
    assert texts() == 0
    # The answer tells of a text that was never handed over: the next resend brings one.
    clock.advance(61)
    again = client.post("/v1/verifications", json={"phone_number": OTHER_NUMBER})
    assert again.status_code == 201
    assert texts() == 1


class Stalling:
    """A provider that sends, while the standby stops."""

    name = "stalling"
    channels = BOTH

    def __init__(self, standby: Server) -> None:
        self._standby = standby
        self.sent: list[str] = []

    def send(self, message: SmsMessage) -> str:
        """Take the message."""
        self.sent.append(message.body)
        self._standby.stop()
        return "1"


def test_a_text_whose_record_was_not_confirmed_is_not_sent_again(
    make_app: MakeApp, clock: Clock, pair: tuple[Server, Server]
) -> None:
    """It was handed over and is paid for: whoever repeats it is answered, and its code is good."""
    primary, standby = pair
    provider = Stalling(standby)
    app = make_app(
        {
            "database": Database(primary.url(), timeouts=Timeouts(commit=1)),
            "providers": (provider,),
        }
    )
    client = app.test_client()
    key = {"Idempotency-Key": "0d6e9a54-1b3f-4b4c-8f0f-3f0e6f6b7c11"}

    def start() -> TestResponse:
        return client.post("/v1/verifications", json={"phone_number": NUMBER}, headers=key)

    assert problem_code(start()) == "outcome-unknown"
    assert problem_code(start()) == "outcome-unknown"
    standby.start()
    clock.advance(121)
    repeated = start()
    assert repeated.status_code == 201
    assert len(provider.sent) == 1
    (code,) = re.findall(r"\b\d{6}\b", provider.sent[0])
    path = f"/v1/verifications/{repeated.json['id']}/checks"  # type: ignore[index]
    assert client.post(path, json={"code": code}).json["status"] == "verified"  # type: ignore[index]
