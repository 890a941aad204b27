"""Each typed call sends what the API takes and returns what it answers."""

import base64
import hashlib
from datetime import UTC, datetime
from importlib.metadata import version

import httpx
import pytest
from click.testing import CliRunner

from kith import (
    AcceptedMessage,
    Account,
    ContactPage,
    Device,
    Envelope,
    Kith,
    KithAnswerUnreadable,
    Message,
    PeerContact,
    Registration,
    Verification,
    hash_number,
)
from kith.cli import main
from tests.unit.kith.canned import (
    ACCOUNT,
    DEVICE,
    PARAMETERS,
    REGISTRATION,
    TOKEN,
    VERIFICATION,
    Script,
    ok,
)

MOMENT = datetime(2026, 11, 22, 10, 20, 30, tzinfo=UTC)


def test_requests_name_the_client(client: Kith, script: Script) -> None:
    """With its version, which the command shows too."""
    script.on("GET /v1/account", ok(ACCOUNT))
    client.account()
    assert script.requests[0].headers["User-Agent"] == f"kith/{version('kith')}"
    shown = CliRunner().invoke(main, ["--version"])
    assert shown.output == f"kith, version {version('kith')}\n"


def test_start_verification_sends_only_what_was_given(client: Kith, script: Script) -> None:
    """Options that were not given do not cross the wire, and the answer is typed."""
    script.on("POST /v1/verifications", ok(VERIFICATION, 201))

    verification = client.start_verification("0151 12345678", region="DE", locale="de")

    assert script.bodies("POST /v1/verifications") == [
        {"phone_number": "0151 12345678", "region": "DE", "channel": "sms", "locale": "de"}
    ]
    assert isinstance(verification, Verification)
    assert verification.expires_at == datetime(2026, 11, 22, 10, 30, 30, 123456, tzinfo=UTC)
    assert verification.next_voice_in is None


def test_verification_calls_use_their_addresses(client: Kith, script: Script) -> None:
    """Reading, sending again, checking and canceling speak about the verification by its id."""
    path = "/v1/verifications/abc"
    script.on(f"GET {path}", ok(VERIFICATION))
    script.on(f"POST {path}/sends", ok(VERIFICATION, 201))
    script.on(f"POST {path}/checks", ok({**VERIFICATION, "status": "verified"}))
    script.on(f"DELETE {path}", ok())

    client.verification("abc")
    client.send_code("abc", "voice")
    checked = client.check_code("abc", "123456")
    client.cancel_verification("abc")

    assert checked.status == "verified"
    assert script.bodies(f"POST {path}/sends") == [{"channel": "voice"}]
    assert script.bodies(f"POST {path}/checks") == [{"code": "123456"}]
    assert [request.method for request in script.requests] == ["GET", "POST", "POST", "DELETE"]


def test_register_returns_a_token_and_does_not_adopt_it(script: Script) -> None:
    """The caller stores the token first, so the client goes on without it."""
    script.on("POST /v1/registrations", ok(REGISTRATION, 201))
    client = Kith("http://kith.test", transport=script)

    registration = client.register("abc", name="Laptop", registration_lock_pin="2468")

    assert script.bodies("POST /v1/registrations") == [
        {"verification_id": "abc", "device": {"name": "Laptop"}, "registration_lock_pin": "2468"}
    ]
    assert isinstance(registration, Registration)
    assert registration.device_token == TOKEN
    assert client.device_token is None


def test_account_calls(client: Kith, script: Script) -> None:
    """The account is read and changed with the device token."""
    script.on("GET /v1/account", ok(ACCOUNT))
    script.on("PATCH /v1/account", ok({**ACCOUNT, "discoverable": False}))
    script.on("DELETE /v1/account", ok())
    script.on("PUT /v1/account/registration-lock", ok())
    script.on("DELETE /v1/account/registration-lock", ok(ACCOUNT))
    script.on("POST /v1/account/registration-lock/remove", ok(ACCOUNT))
    script.on("POST /v1/account/registration-lock/keep", ok(ACCOUNT))
    script.on("POST /v1/account/phone-number", ok({**ACCOUNT, "phone_number": "+442079460000"}))

    account = client.account()
    hidden = client.set_discoverable(False)
    client.set_registration_lock("246801", current_pin="1234")
    for ended in (
        client.remove_registration_lock(),
        client.remove_registration_lock("246801"),
        client.keep_registration_lock(),
    ):
        assert ended.registration_lock_ends_at is None
    moved = client.change_phone_number("abc", registration_lock_pin="1")
    client.delete_account()

    assert isinstance(account, Account)
    assert not hidden.discoverable
    assert moved.phone_number == "+442079460000"
    assert script.bodies("PUT /v1/account/registration-lock") == [
        {"pin": "246801", "current_pin": "1234"}
    ]
    assert script.bodies("POST /v1/account/phone-number") == [
        {"verification_id": "abc", "registration_lock_pin": "1"}
    ]
    assert {request.headers["Authorization"] for request in script.requests} == {f"Bearer {TOKEN}"}


def test_device_calls(client: Kith, script: Script) -> None:
    """Devices are listed, renamed, removed, linked and told for others."""
    script.on("GET /v1/devices", ok({"devices": [DEVICE]}))
    script.on("PATCH /v1/devices/d1", ok({**DEVICE, "name": "Old"}))
    script.on("DELETE /v1/devices/d1", ok())
    script.on("DELETE /v1/account/other-devices", ok({"removed": ["d2"]}))
    script.on(
        "POST /v1/device-links",
        ok({"link_code": "link-me", "expires_at": "2026-11-22T10:20:30Z"}, 201),
    )
    script.on("POST /v1/device-links/redeem", ok(REGISTRATION, 201))
    script.on("POST /v1/tokens/rotate", ok({"device_token": "kith_new"}, 201))
    script.on("GET /v1/accounts/a1/devices", ok({"account_id": "a1", "devices": [{"id": "d9"}]}))

    assert client.devices() == (
        Device(DEVICE["id"], "Laptop", "linux", MOMENT, last_seen_at=None, current=True),
    )
    assert client.rename_device("d1", "Old").name == "Old"
    client.remove_device("d1")
    assert client.remove_other_devices() == ("d2",)
    assert client.create_device_link().link_code == "link-me"
    assert client.redeem_device_link("link-me", platform="linux").device_token == TOKEN
    assert client.rotate_token() == "kith_new"
    assert client.device_token == TOKEN
    assert client.account_devices("a1") == ("d9",)


def test_discovery_calls(client: Kith, script: Script) -> None:
    """Parameters and lookups are typed."""
    script.on("GET /v1/discovery/parameters", ok(PARAMETERS))
    script.on("POST /v1/discovery/lookups", ok({"matches": {"h1": "a1"}}))

    parameters = client.discovery_parameters()
    found = client.look_up(parameters.epoch, ["h1", "h2"])

    assert (found.matches, found.sync_token, found.budget) == ({"h1": "a1"}, None, None)
    assert parameters.budget is None
    assert script.bodies("POST /v1/discovery/lookups") == [{"epoch": "e1", "hashes": ["h1", "h2"]}]


def test_messages_travel_as_base64url(client: Kith, script: Script) -> None:
    """Contents are bytes for the caller and base64url without padding on the wire."""
    script.on("POST /v1/messages", ok({"id": "m1", "accepted_at": "2026-11-22T10:20:30Z"}, 202))
    script.on(
        "GET /v1/messages",
        ok(
            {
                "messages": [
                    {
                        "seq": 7,
                        "id": "m1",
                        "from_account_id": "a1",
                        "from_device_id": "d1",
                        "content": "-_8",
                        "sent_at": "2026-11-22T10:20:30Z",
                    }
                ],
                "more": False,
            }
        ),
    )
    script.on("POST /v1/messages/ack", ok())

    accepted = client.send_message("a1", [Envelope("d1", b"\xfb\xff")], expires_in=60)
    page = client.fetch_messages(limit=10, wait=30)
    client.acknowledge(7)

    [sent] = script.bodies("POST /v1/messages")
    assert accepted == AcceptedMessage("m1", MOMENT)
    assert sent["envelopes"] == [{"device_id": "d1", "content": "-_8"}]
    assert sent["expires_in"] == 60
    assert 1 <= len(sent["client_id"]) <= 64
    assert page.messages == (Message(7, "m1", "a1", "d1", b"\xfb\xff", MOMENT),)
    assert script.bodies("POST /v1/messages/ack") == [{"through": 7}]


def test_given_client_id_is_used(client: Kith, script: Script) -> None:
    """A caller that repeats a message itself keeps its own client_id."""
    accepted = {"id": "m1", "accepted_at": "2026-11-22T10:20:30Z"}
    script.on("POST /v1/messages", ok(accepted, 202))

    client.send_message("a1", [], client_id="mine")

    assert script.bodies("POST /v1/messages")[0]["client_id"] == "mine"


def test_long_poll_waits_longer_than_the_server(client: Kith, script: Script) -> None:
    """The read time-out lies above the wait that the server was asked for."""
    script.on("GET /v1/messages", ok({"messages": [], "more": False}))

    client.fetch_messages(wait=60)

    [request] = script.requests
    assert request.url.params["wait"] == "60"
    assert request.extensions["timeout"]["read"] == 70.0
    assert request.extensions["timeout"]["connect"] == 10.0


def test_operator_and_development_calls(client: Kith, script: Script) -> None:
    """Health, metrics and the outbox are read as they are."""
    script.on("GET /livez", ok({"status": "ok"}))
    script.on("GET /readyz", ok({"status": "ok"}))
    script.on("GET /metrics", httpx.Response(200, text="kith_up 1\n"))
    text = {"to": "+49", "body": "123456", "channel": "sms", "sent_at": "2026-11-22T10:20:30Z"}
    script.on("GET /dev/outbox.json", ok({"messages": [text]}))

    assert client.is_alive()
    assert client.is_ready()
    assert client.metrics() == "kith_up 1\n"
    assert client.outbox("+49")[0].body == "123456"
    assert script.sent("GET /dev/outbox.json")[0].url.params["to"] == "+49"


def test_ids_stay_one_segment_of_the_address(client: Kith, script: Script) -> None:
    """An id from elsewhere cannot lead the request to another address."""
    script.on("GET /v1/accounts/a/b?/devices", ok({"devices": []}))

    client.account_devices("a/b?")

    assert script.requests[0].url.raw_path == b"/v1/accounts/a%2Fb%3F/devices"
    for identifier in ("", ".", ".."):
        with pytest.raises(ValueError, match="id"):
            client.account_devices(identifier)


def test_base_url_may_have_a_path(script: Script) -> None:
    """A server behind a path prefix is reached under it."""
    script.on("GET /kith/livez", ok({}))

    with Kith("https://example.com/kith/", transport=script) as client:
        assert client.is_alive()


@pytest.mark.parametrize("address", ["", "kith.test", "ftp://kith.test", "http://", "http://a:b:c"])
def test_unusable_addresses_are_refused_at_once(address: str) -> None:
    """A wrong address is a ValueError when the client is made, not a surprise later."""
    with pytest.raises(ValueError, match="server address"):
        Kith(address)


@pytest.mark.parametrize("token", ["", "kith_\u00e9", "kith_a\nb"])
def test_unusable_tokens_are_refused_without_being_repeated(token: str) -> None:
    """A token that no header can carry is refused in words that do not hold it."""
    with pytest.raises(ValueError, match="visible ASCII") as caught:
        Kith("http://kith.test", token)
    assert "kith_" not in repr(caught.value)


def test_reprs_hold_no_secret(client: Kith, script: Script) -> None:
    """Neither the client nor an answer shows a token when it is printed."""
    script.on("POST /v1/registrations", ok(REGISTRATION, 201))

    assert TOKEN not in repr(client)
    assert TOKEN not in repr(client.register("abc"))


def test_hash_is_the_one_of_the_matrix_identity_service() -> None:
    """The digits without plus, the word msisdn and the salt are hashed."""
    digest = hashlib.sha256(b"4915112345678 msisdn pepper").digest()

    assert hash_number("+4915112345678", "pepper") == base64.urlsafe_b64encode(
        digest
    ).decode().rstrip("=")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        ok({**ACCOUNT, "account_id": None}),
        ok({**ACCOUNT, "discoverable": 1}),
        ok({**ACCOUNT, "created_at": "yesterday"}),
        ok({**ACCOUNT, "created_at": "2026-11-22T10:20:30"}),
        httpx.Response(
            200, stream=httpx.ByteStream(b"not gzip"), headers={"Content-Encoding": "gzip"}
        ),
    ],
)
def test_answers_that_break_the_contract_are_named_as_such(
    answer: httpx.Response | None, client: Kith, script: Script
) -> None:
    """A success that is not the promised document is KithAnswerUnreadable, never a KeyError."""
    script.on("GET /v1/account", lambda _: answer)

    with pytest.raises(KithAnswerUnreadable, match="answer"):
        client.account()


def test_unreadable_binary_is_named_as_such(client: Kith, script: Script) -> None:
    """Content that is not base64url is KithAnswerUnreadable."""
    message = {
        "seq": 1,
        "id": "m",
        "from_account_id": "a",
        "from_device_id": "d",
        "content": "%%%",
        "sent_at": "2026-11-22T10:20:30Z",
    }
    script.on("GET /v1/messages", ok({"messages": [message], "more": False}))

    with pytest.raises(KithAnswerUnreadable, match="content"):
        client.fetch_messages()


def test_members_of_newer_servers_are_ignored(client: Kith, script: Script) -> None:
    """A server may add members without breaking this client."""
    script.on("GET /v1/account", ok({**ACCOUNT, "mood": "good"}))

    assert client.account().account_id == ACCOUNT["account_id"]


def test_contacts_are_set_by_id(client: Kith, script: Script) -> None:
    """Accepting and blocking say the state, forgetting needs none."""
    script.on("PUT /v1/contacts/a1", ok(), ok())
    script.on("DELETE /v1/contacts/a1", ok())

    client.accept("a1")
    client.block("a1")
    client.forget("a1")

    assert script.bodies("PUT /v1/contacts/a1") == [{"state": "accepted"}, {"state": "blocked"}]
    assert [request.method for request in script.requests] == ["PUT", "PUT", "DELETE"]


def test_contacts_are_listed_by_page(client: Kith, script: Script) -> None:
    """What was not asked for is not in the query, and the answer is typed."""
    contact = {"account_id": "a1", "state": "blocked", "since": "2026-11-22T10:20:30Z"}
    page = ok({"contacts": [contact], "more": True})
    script.on("GET /v1/contacts", page, page)

    word_set = client.contacts()
    client.contacts(state="blocked", after="a1", limit=5)

    assert word_set == ContactPage((PeerContact("a1", "blocked", MOMENT),), True)
    assert [dict(request.url.params) for request in script.requests] == [
        {"limit": "100"},
        {"state": "blocked", "after": "a1", "limit": "5"},
    ]
