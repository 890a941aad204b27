"""A failover under the application: nobody counts on from what is lost."""

from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import pytest
from flask_openapi3 import OpenAPI

from messaging.message_types import CloseCode, Delivery, Notice, Signal
from messaging.notifications.mailbox_poller import MailboxPoller
from tests.conftest import MakeApp, Person
from tests.contract.openapi import ContractClient
from tests.postgresql import Pair, servers

#: One process starts the servers for all of them.
pytestmark = pytest.mark.xdist_group("servers")


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.woken = 0
        self.why: list[CloseCode] = []

    def on_stored(self, deliveries: Sequence[Delivery]) -> None:
        """Count."""
        self.woken += 1

    def on_acknowledged(self, through: int) -> None:
        """Let it go."""

    def on_signal(self, signal: Signal) -> None:
        """Let it go."""

    def on_notice(self, notice: Notice) -> None:
        """Let it go."""

    def close(self, why: CloseCode) -> None:
        """Keep why."""
        self.why.append(why)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary and its standby."""
    with servers() as make:
        pair = Pair(make)
        yield pair
        pair.database.close()


@pytest.fixture
def app(make_app: MakeApp, pair: Pair) -> OpenAPI:
    """The application, with both in its address."""
    return make_app({"database": pair.database})


@pytest.fixture
def database_url(pair: Pair) -> str:
    """An address of both."""
    return pair.url


def test_who_listens_begins_anew(
    app: OpenAPI, client: ContractClient, register: Callable[..., Person], pair: Pair
) -> None:
    """Numbers in a mailbox are given out again: whoever goes on counting would miss the new messages."""
    anna, ben = register("+4915112345601"), register("+4915112345602")
    kith = app.extensions["kith"]
    listener, poller = (
        Listener(),
        MailboxPoller(pair.database, kith.runtime.clock, kith.messaging.registry),
    )

    def send(name: str) -> None:
        body = {
            "to": ben.account_id,
            "client_id": name,
            "envelopes": [{"device_id": ben.device_id, "content": "aGVsbG8"}],
        }
        sent = client.post("/v1/messages", json=body, headers=anna.headers)
        assert sent.status_code == 202, sent.text

    def numbers() -> list[int]:
        page = client.get("/v1/messages", headers=ben.headers).json
        return [message["seq"] for message in page["messages"]]

    send("kept")
    with kith.messaging.registry.register(UUID(ben.device_id), listener):
        poller.poll()
        poller.poll()
        assert listener.why == []
        pair.lose_touch()
        send("lost")
        assert numbers() == [1, 2]
        pair.fail_over()
        assert numbers() == [1]
        poller.poll()
        assert listener.why == [CloseCode.FAILED_OVER]
    send("new")
    assert numbers() == [1, 2]
    another = Listener()
    with kith.messaging.registry.register(UUID(ben.device_id), another):
        poller.poll()
        assert (another.why, another.woken) == ([], 1)
