"""Unbinding by a homeserver's signature: whose it is, for whom, over what, and where its keys come from."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from nacl.signing import SigningKey
from werkzeug.test import TestResponse

from interop.matrix.signing import canonical_json, unpadded
from tests.conftest import NUMBER, Clock, MakeApp
from tests.contract.fake_http import Answer
from tests.matrix import KEYS, V2, Homeserver, MatrixClient, fault, make_matrix_app

FORBIDDEN = (403, "M_FORBIDDEN")
INVALID = (400, "M_INVALID_PARAM")
UNAVAILABLE = (400, "M_UNKNOWN")


def content(user: MatrixClient, number: str = NUMBER) -> dict[str, Any]:
    """Write what Synapse sends for one of its users."""
    return {"mxid": user.user_id, "threepid": {"medium": "msisdn", "address": number[1:]}}


def unbind(app: OpenAPI, body: Any, authorization: str) -> TestResponse:
    """Send a signed request."""
    headers = {"Authorization": authorization}
    return app.test_client().post(f"{V2}/3pid/unbind", json=body, headers=headers)


def questions(homeserver: Homeserver) -> int:
    """Count how often the homeserver was asked for its keys."""
    return sum(request.path == KEYS for request in homeserver.received)


def test_a_homeserver_unbinds_its_user(alice: MatrixClient, homeserver: Homeserver) -> None:
    """Without an access token: it is signed as Synapse signs, under `destination_is`."""
    alice.bound()
    body = content(alice)
    answer = unbind(alice.app, body, homeserver.authorize(body))
    assert (answer.status_code, answer.json) == (200, {}), answer.text
    assert alice.found(NUMBER) == {}
    assert unbind(alice.app, body, homeserver.authorize(body)).status_code == 200, "once more"


def test_ways_to_write_the_header(alice: MatrixClient, homeserver: Homeserver) -> None:
    """As the server-server API has it: `destination`, other order, no quotes, or left out of the header."""
    body = content(alice)
    signed = homeserver.authorize(body, member="destination")
    origin, key, sig, destination = signed.removeprefix("X-Matrix ").split(",")
    for header in (
        signed,
        f"x-matrix {destination}, {sig} ,{key},{origin}",
        "X-Matrix " + ",".join([origin, key, sig]),
        ("X-Matrix " + ",".join([origin, key.replace('"', ""), sig, destination])),
        f'X-Matrix {origin},key="ed25519:gone",{sig},{destination},{signed}',
    ):
        assert unbind(alice.app, body, header).status_code == 200, header


def test_a_homeserver_unbinds_nobody_elses_users(
    alice: MatrixClient, homeserver: Homeserver
) -> None:
    """Its signature is good for users of its very name."""
    alice.bound()
    with Homeserver() as stranger:
        body = content(alice)
        assert fault(unbind(alice.app, body, stranger.authorize(body))) == FORBIDDEN
    body = {"mxid": "@alice:hs.example", "threepid": content(alice)["threepid"]}
    assert fault(unbind(alice.app, body, homeserver.authorize(body))) == FORBIDDEN
    assert alice.found(NUMBER) == {NUMBER: alice.user_id}


def test_a_signature_is_for_one_request_to_one_service(
    alice: MatrixClient, bob: MatrixClient, homeserver: Homeserver
) -> None:
    """Over its body, its path and this identity server; and by the key that the homeserver publishes."""
    alice.bound()
    body, other = content(alice), content(bob)
    forger = SigningKey.generate()
    signed = homeserver.authorize(body)
    for header in (
        homeserver.authorize(other),
        homeserver.authorize(body, destination="id.other.example"),
        homeserver.authorize(body, path=f"{V2}/3pid/bind"),
        homeserver.authorize(body, member="elsewhere"),
        signed.replace(homeserver.key_id, "ed25519:gone"),
        signed.replace(
            signed.split('sig="')[1].partition('"')[0],
            unpadded(forger.sign(canonical_json(body)).signature),
        ),
    ):
        assert fault(unbind(alice.app, body, header)) == FORBIDDEN, header
    assert alice.found(NUMBER) == {NUMBER: alice.user_id}


@pytest.mark.parametrize(
    "header",
    [
        "X-Matrix",
        "X-Matrix ",
        "X-Matrix origin",
        'X-Matrix origin="hs.example",key="ed25519:1",sig="AAAA",destination="id.example"',
        'X-Matrix origin="hs.example",key="rsa:1",sig="{sig}"',
        'X-Matrix origin="https://hs.example/",key="ed25519:1",sig="{sig}"',
        'X-Matrix origin="",key="ed25519:1",sig="{sig}"',
        'X-Matrix key="ed25519:1",sig="{sig}"',
        'X-Matrix origin="hs.example",key="ed25519:1",sig="{sig}", X-Matrix origin="b.example",'
        'key="ed25519:1",sig="{sig}"',
        ", ".join(['X-Matrix origin="hs.example",key="ed25519:1",sig="{sig}"'] * 5),
        'X-Matrix ;origin="hs.example",key="ed25519:1",sig="{sig}"',
    ],
)
def test_a_header_that_cannot_be_read(
    alice: MatrixClient, homeserver: Homeserver, header: str
) -> None:
    """Synapse goes on with what its user asked for, and nobody is asked for keys."""
    answer = unbind(alice.app, content(alice), header.replace("{sig}", "A" * 86))
    assert fault(answer) == INVALID
    assert questions(homeserver) == 0


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b'{"a": "\\ud800"}', b"[" * 50_000])
def test_a_body_that_cannot_be_signed(
    alice: MatrixClient, homeserver: Homeserver, body: bytes
) -> None:
    """It is refused before keys are asked for."""
    headers = {"Authorization": homeserver.authorize({})}
    answer = alice.app.test_client().post(f"{V2}/3pid/unbind", data=body, headers=headers)
    assert fault(answer) == (400, "M_NOT_JSON")
    assert questions(homeserver) == 0


def test_a_signed_body_must_be_one(alice: MatrixClient, homeserver: Homeserver) -> None:
    """What a homeserver signed is held to the same rules as what a user sends."""
    body = content(alice) | {"threepid": {"medium": "email", "address": "a@b.example"}}
    assert fault(unbind(alice.app, body, homeserver.authorize(body))) == INVALID
    assert fault(unbind(alice.app, [], homeserver.authorize([]))) == INVALID


def test_keys_are_remembered_for_an_hour(
    alice: MatrixClient, homeserver: Homeserver, clock: Clock
) -> None:
    """A homeserver whose users all leave is asked once; a key that is not known is asked for."""
    body = content(alice)
    for _ in range(3):
        assert unbind(alice.app, body, homeserver.authorize(body)).status_code == 200
    assert questions(homeserver) == 1
    clock.advance(hours=1)
    assert unbind(alice.app, body, homeserver.authorize(body)).status_code == 200
    assert questions(homeserver) == 2
    homeserver.key_id, homeserver.signing_key = "ed25519:b", SigningKey.generate()
    assert unbind(alice.app, body, homeserver.authorize(body)).status_code == 200
    assert questions(homeserver) == 3


def test_a_withdrawn_key_is_worth_nothing_after_an_hour(
    alice: MatrixClient, homeserver: Homeserver, clock: Clock
) -> None:
    """A key that a homeserver no longer publishes signs nothing."""
    body = content(alice)
    stolen = homeserver.authorize(body)
    assert unbind(alice.app, body, stolen).status_code == 200
    homeserver.key_id, homeserver.signing_key = "ed25519:b", SigningKey.generate()
    clock.advance(hours=1)
    assert fault(unbind(alice.app, body, stolen)) == FORBIDDEN


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    "change",
    [
        lambda keys: keys | {"valid_until_ts": 1_000},
        lambda keys: keys | {"valid_until_ts": "soon"},
        lambda keys: keys | {"valid_until_ts": 10**30},
        lambda keys: keys | {"server_name": "other.example"},
        lambda keys: keys | {"signatures": {}},
        lambda keys: keys | {"signatures": []},
        lambda keys: keys | {"more": 1},
        lambda keys: keys | {"verify_keys": {}},
        lambda keys: keys | {"verify_keys": ["ed25519:a_1"]},
        lambda keys: keys | {"verify_keys": {"ed25519:a_1": {"key": "AAAA"}}},
        lambda keys: {},
        lambda keys: [],
    ],
    ids=range(12),
)
def test_keys_must_be_a_homeservers_own(
    alice: MatrixClient, homeserver: Homeserver, change: Change
) -> None:
    """They name it, hold now, and are signed with themselves; anything else is no answer."""
    alice.bound()
    body = content(alice)
    homeserver.next(Answer(200, json.dumps(change(homeserver.keys())).encode()))
    assert fault(unbind(alice.app, body, homeserver.authorize(body))) == UNAVAILABLE
    assert alice.found(NUMBER) == {NUMBER: alice.user_id}


def test_the_way_to_keys_is_guarded(make_app: MakeApp, homeserver: Homeserver) -> None:
    """A signature sends this host nowhere that an OpenID token would not."""
    closed = make_matrix_app(make_app, matrix_allowed_networks=())
    user = MatrixClient(closed, f"@alice:{homeserver.name()}", "")
    body = content(user)
    assert fault(unbind(closed, body, homeserver.authorize(body))) == UNAVAILABLE
    assert homeserver.received == []


def test_a_network_has_keys_asked_for_so_often(
    make_app: MakeApp, homeserver: Homeserver, clock: Clock
) -> None:
    """Who names ever new keys is told to wait; others, and keys that are known, are not concerned."""
    app = make_matrix_app(make_app)
    user = MatrixClient(app, f"@alice:{homeserver.name()}", "")
    body = content(user)
    right = homeserver.authorize(body)
    assert unbind(app, body, right).status_code == 200
    unknown = right.replace(homeserver.key_id, "ed25519:gone")
    for _ in range(59):
        assert fault(unbind(app, body, unknown)) == FORBIDDEN
    refused = unbind(app, body, unknown)
    assert fault(refused) == (429, "M_LIMIT_EXCEEDED")
    assert refused.json["retry_after_ms"] > 0  # type: ignore[index]
    assert unbind(app, body, right).status_code == 200
    elsewhere = app.test_client().post(
        f"{V2}/3pid/unbind",
        json=body,
        headers={"Authorization": unknown},
        environ_base={"REMOTE_ADDR": "198.51.100.7"},
    )
    assert fault(elsewhere) == FORBIDDEN
