"""Ephemeral envelopes: passed on to who is there, and stored nowhere."""

from typing import Any
from uuid import UUID

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import func, select

from core.database import Database
from messaging.keys.schemas import KeysUpload
from messaging.mailbox.models import Envelope
from messaging.message_types import GroupChangedNotice, KeysLowNotice
from messaging.stream.signals import MAX_BURST, MAX_PER_SECOND, SignalRateLimiter
from tests.api.stream.conftest import Open
from tests.conftest import Clock, Person
from tests.contract.openapi import ContractClient
from tests.device_keys import DeviceKeys
from tests.sockets import Frame

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def _signal(to: Person, content: bytes = b"typing", **fields: object) -> Frame:
    envelopes = [{"device_id": to.device_id, "content": content}]
    return {"type": "ephemeral", "to": to.account_id, "envelopes": envelopes} | fields


def test_a_signal_is_passed_on_and_not_stored(
    open_ready: Open, alice: Person, bob: Person, clock: Clock, database: Database
) -> None:
    """Bob hears it while his socket is open; when it is not, it is gone."""
    to_alice = open_ready(alice)
    to_alice.send(_signal(bob, b"missed"))
    assert to_alice.settled()
    to_bob = open_ready(bob)
    to_alice.send(_signal(bob))
    assert to_bob.expect("ephemeral") == {
        "from_account_id": alice.account_id,
        "from_device_id": alice.device_id,
        "content": b"typing",
        "sent_at": clock.now.isoformat().replace("+00:00", "Z"),
    }
    assert to_bob.settled()
    assert to_alice.settled()
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(Envelope)) == 0


def test_signals_that_cannot_be_passed_on_are_refused(
    open_ready: Open, alice: Person, bob: Person
) -> None:
    """Devices that are not the account's, unknown accounts, large ones and long-lived ones."""
    to_alice, to_bob = open_ready(alice), open_ready(bob)
    strange = "7d9f3c1e-0000-4000-8000-000000000000"
    for frame, code in (
        (_signal(bob) | {"to": alice.account_id}, "devices-mismatched"),
        (_signal(bob) | {"to": strange}, "account-not-found"),
        (_signal(bob, b"x" * 16_385), "invalid-fields"),
        (_signal(bob, expires_in=31), "invalid-fields"),
    ):
        to_alice.send(frame)
        assert to_alice.expect("refused")["problem"]["type"] == f"/problems/{code}"
    assert to_bob.settled()


def test_who_may_not_signal_is_not_told(
    open_ready: Open, alice: Person, bob: Person, client: ContractClient
) -> None:
    """A signal to somebody who blocked the sender is dropped without a word."""
    path = f"/v1/contacts/{alice.account_id}"
    assert client.put(path, json={"state": "blocked"}, headers=bob.headers).status_code == 204
    to_alice, to_bob = open_ready(alice), open_ready(bob)
    to_alice.send(_signal(bob))
    assert to_alice.settled()
    assert to_bob.settled()


def test_signals_are_limited(open_ready: Open, alice: Person, bob: Person) -> None:
    """After a burst they are refused with 429, and the socket goes on."""
    to_alice = open_ready(alice)
    to_alice.send(*[_signal(bob)] * (MAX_BURST + 100))
    refused = to_alice.expect("refused")["problem"]
    assert refused["type"] == "/problems/too-many-signals"
    assert (refused["status"], refused["retry_after"]) == (429, 1)


def test_a_new_socket_is_no_new_burst(
    open_ready: Open, app: OpenAPI, alice: Person, bob: Person
) -> None:
    """The limit is the device's: whoever opens one socket after the other gets no more."""
    now = [100.0]
    app.extensions["kith"].messaging.streams.signals.rate_limiter = SignalRateLimiter(
        lambda: now[0]
    )
    to_alice = open_ready(alice)
    to_alice.send(*[_signal(bob)] * MAX_BURST)
    assert to_alice.settled()
    again = open_ready(alice)
    again.send(_signal(bob))
    assert again.expect("refused")["problem"]["type"] == "/problems/too-many-signals"
    now[0] += 1 / MAX_PER_SECOND
    again.send(_signal(bob))
    assert again.settled()


def test_keys_that_run_out_are_told_once(
    open_ready: Open, open_socket: Open, app: OpenAPI, clock: Clock, alice: Person, bob: Person
) -> None:
    """Once a connection, from its beginning on, until the device uploads new ones."""
    service, keys = app.extensions["kith"].messaging.keys, DeviceKeys()
    caller, taker = (
        app.extensions["kith"].tokens.device_tokens.authenticate(one.token) for one in (bob, alice)
    )

    def upload(body: dict[str, Any]) -> None:
        clock.advance(1)
        service.upload(caller, KeysUpload.model_validate(body))

    def fetch(times: int) -> None:
        for _ in range(times):
            service.fetch(taker, caller.account_id, None)

    upload(keys.first(20))
    socket = open_ready(bob)
    fetch(3)
    assert socket.expect("keys_low") == {"one_time_prekeys": 19, "one_time_kem_prekeys": 0}
    assert socket.settled()
    upload({"one_time_prekeys": [keys.prekey() for _ in range(20)]})
    fetch(2)
    assert socket.expect("keys_low") == {"one_time_prekeys": 19, "one_time_kem_prekeys": 0}
    assert socket.settled()
    again = open_socket(bob)
    again.expect("ready")
    again.expect("keys_low")
    again.expect("caught_up")
    fetch(1)
    assert again.settled()


def test_notices_become_frames(open_ready: Open, app: OpenAPI, bob: Person) -> None:
    """What else an open socket is told: keys that run out, groups that changed."""
    socket = open_ready(bob)
    registry = app.extensions["kith"].messaging.messages.registry
    registry.notify(UUID(bob.device_id), KeysLowNotice(3, 4))
    assert socket.expect("keys_low") == {"one_time_prekeys": 3, "one_time_kem_prekeys": 4}
    registry.notify(UUID(bob.device_id), GroupChangedNotice(UUID(bob.account_id), 7))
    assert socket.expect("group_changed") == {"group_id": bob.account_id, "version": 7}
