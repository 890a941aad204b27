"""Devices and tokens through HTTP: authenticate, link, rotate, revoke."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import func, select

from core.database import table
from tests.conftest import KEY, NUMBER, OTHER_NUMBER, Clock, MakeApp, Person, problem_code
from tests.contract.openapi import ContractClient
from tokens.device_tokens import MAX_UNUSED_TOKENS
from tokens.models import RetiredToken

Register = Callable[..., Person]


def bearer(token: str) -> dict[str, str]:
    """Build what authenticates a token."""
    return {"Authorization": f"Bearer {token}"}


def account(client: ContractClient, token: str) -> Any:
    """Ask for the account of a token."""
    return client.get("/v1/account", headers=bearer(token))


def test_tokens_look_like_tokens(register: Register) -> None:
    """A token has the prefix and length that secret scanners look for."""
    token = register().token
    assert token.startswith("kith_")
    assert len(token) == 96


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token[:-1],
        lambda token: token[:40],
        lambda token: token + "A",
        lambda token: token[:50] + ("A" if token[50] != "A" else "B") + token[51:],
        lambda token: token.removeprefix("kith_"),
        lambda token: "kith_",
        lambda token: "kith_" + "é" * 91,
        lambda token: token.replace("kith_", "kithlink_"),
    ],
)
def test_spoilt_tokens(
    client: ContractClient, register: Register, spoil: Callable[[str], str]
) -> None:
    """A token that is cut short, altered or of another kind is not valid."""
    spoilt = spoil(register().token)
    answer = client.get(
        "/v1/account",
        environ_overrides={"HTTP_AUTHORIZATION": f"Bearer {spoilt}".encode().decode("latin-1")},
    )
    assert problem_code(answer) == "token-invalid"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic eDp5", "Bearer "])
def test_missing_tokens(client: ContractClient, header: str | None) -> None:
    """A request without a bearer token is told how to send one."""
    headers = {} if header is None else {"Authorization": header}
    answer = client.get("/v1/account", headers=headers)
    assert problem_code(answer) == "token-missing"


def test_another_devices_secret(client: ContractClient, register: Register) -> None:
    """A well-formed token with the right ids and a made-up secret is refused and revokes nothing."""
    from tokens.token_issuer import TOKEN_PREFIX, Credential

    person = register()
    genuine = Credential.parse(TOKEN_PREFIX, 2, person.token)
    assert genuine
    forged = Credential(genuine.ids, bytes(32)).format(TOKEN_PREFIX)
    assert problem_code(account(client, forged)) == "token-invalid"
    assert account(client, person.token).status_code == 200


class TestRotation:
    """A token is replaced; the old one that comes back gives a thief away."""

    def rotate(self, client: ContractClient, token: str, key: str | None = None) -> str:
        """Rotate and give the new token."""
        headers = bearer(token) | ({"Idempotency-Key": key} if key else {})
        answer = client.post("/v1/tokens/rotate", headers=headers)
        assert answer.status_code == 201
        return str(answer.json["device_token"])

    def test_the_old_token_works_until_the_new_one_is_used(
        self, client: ContractClient, register: Register
    ) -> None:
        """A lost answer to the rotation locks nobody out."""
        old = register().token
        new = self.rotate(client, old)
        assert new != old
        assert account(client, old).status_code == 200
        assert account(client, new).status_code == 200

    def test_the_old_token_used_again_revokes_the_tokens(
        self, client: ContractClient, register: Register, clock: Clock
    ) -> None:
        """A minute after the new token was first used the old one raises the alarm, and both are dead."""
        person = register()
        new = self.rotate(client, person.token)
        assert account(client, new).status_code == 200
        clock.advance(61)
        assert problem_code(account(client, person.token)) == "token-reused"
        assert problem_code(account(client, new)) == "token-invalid"
        assert problem_code(account(client, person.token)) == "token-invalid"

    def test_an_old_token_that_arrives_late_harms_nobody(
        self, client: ContractClient, register: Register, clock: Clock
    ) -> None:
        """Within a minute of the new token's first use the old one is refused, and no more."""
        person = register()
        new = self.rotate(client, person.token)
        clock.advance(3600)  # the minute begins with the first use, not with the rotation
        assert account(client, new).status_code == 200
        for seconds in (0, 59, 1):
            clock.advance(seconds)
            assert problem_code(account(client, person.token)) == "token-invalid"
        assert account(client, new).status_code == 200

    def test_any_older_token_is_remembered(
        self, client: ContractClient, register: Register, clock: Clock
    ) -> None:
        """A token three rotations back gives the thief away as well."""
        tokens = [register().token]
        for _ in range(3):
            tokens.append(self.rotate(client, tokens[-1]))
            assert account(client, tokens[-1]).status_code == 200
        clock.advance(61)
        assert problem_code(account(client, tokens[0])) == "token-reused"
        assert problem_code(account(client, tokens[-1])) == "token-invalid"

    def test_a_rotation_replaces_one_that_was_never_used(
        self, client: ContractClient, register: Register
    ) -> None:
        """Of two rotations in a row only the second token counts; one whose answer was lost harms nobody."""
        old = register().token
        self.rotate(client, old)
        assert account(client, self.rotate(client, old)).status_code == 200

    @pytest.mark.parametrize("newer_was_used", [False, True])
    def test_a_replaced_token_that_is_used_raises_the_alarm(
        self, client: ContractClient, register: Register, newer_was_used: bool
    ) -> None:
        """Two parties rotated one token: whoever comes with the first new one ends all of them, at once."""
        old = register().token
        first, second = self.rotate(client, old), self.rotate(client, old)
        if newer_was_used:
            assert account(client, second).status_code == 200
        assert problem_code(account(client, first)) == "token-reused"
        for token in (old, first, second):
            assert problem_code(account(client, token)) == "token-invalid"

    def test_with_an_idempotency_key_it_is_one_rotation(
        self, client: ContractClient, register: Register
    ) -> None:
        """The same key gets the same token."""
        old = register().token
        assert self.rotate(client, old, "k") == self.rotate(client, old, "k")

    def test_it_is_limited_by_device(
        self, client: ContractClient, register: Register, clock: Clock
    ) -> None:
        """Ten at once, then one every 6 minutes; a repeat costs nothing, a refused one does nothing."""
        person = register()
        newest = [self.rotate(client, person.token, f"{i}") for i in range(10)][-1]
        assert self.rotate(client, person.token, "9") == newest
        refused = client.post("/v1/tokens/rotate", headers=person.headers)
        assert problem_code(refused) == "too-many-rotations"
        assert refused.headers["Retry-After"] == "360"
        clock.advance(360)
        after = self.rotate(client, person.token)
        assert problem_code(client.post("/v1/tokens/rotate", headers=person.headers)) == (
            "too-many-rotations"
        )
        assert account(client, after).status_code == 200
        # Another device has rotations of its own.
        assert self.rotate(client, register(OTHER_NUMBER).token)

    def test_few_that_were_never_used_are_kept(
        self, app: OpenAPI, client: ContractClient, register: Register, clock: Clock
    ) -> None:
        """The last ten raise the alarm; older ones are gone, those from before the bound too."""
        person = register()
        with app.extensions["kith"].runtime.database.write() as connection:
            connection.execute(
                table(RetiredToken).insert(),
                [
                    {
                        "account_id": UUID(person.account_id),
                        "device_id": UUID(person.device_id),
                        "token_hash": bytes([place]) * 32,
                        "retired_at": clock() - timedelta(hours=place),
                        "never_used": True,
                    }
                    for place in range(1, 31)
                ],
            )
        minted = []
        for _ in range(15):
            minted.append(self.rotate(client, person.token))
            clock.advance(360)
        with app.extensions["kith"].runtime.database.read() as connection:
            kept = connection.scalar(select(func.count()).select_from(RetiredToken))
        assert kept == MAX_UNUSED_TOKENS == 10
        assert problem_code(account(client, minted[3])) == "token-invalid"
        assert problem_code(account(client, minted[4])) == "token-reused"


class TestLinks:
    """A second device joins."""

    def link(self, client: ContractClient, person: Person) -> str:
        """Make a link code."""
        answer = client.post("/v1/device-links", headers=person.headers)
        assert answer.status_code == 201
        return str(answer.json["link_code"])

    def redeem(self, client: ContractClient, code: str, **fields: Any) -> Any:
        """Redeem a link code."""
        headers = fields.pop("headers", {})
        return client.post(
            "/v1/device-links/redeem", json={"link_code": code, **fields}, headers=headers
        )

    def test_it_joins_once(self, client: ContractClient, register: Register, clock: Clock) -> None:
        """The new device gets a token of the same account; the code is used up."""
        person = register()
        clock.advance(1)
        code = self.link(client, person)
        joined = self.redeem(client, code, device={"name": "Laptop", "platform": "linux"})
        assert joined.status_code == 201
        assert joined.json["account_id"] == person.account_id
        assert account(client, joined.json["device_token"]).status_code == 200
        assert problem_code(self.redeem(client, code)) == "link-code-invalid"
        listed = client.get("/v1/devices", headers=person.headers).json["devices"]
        assert [(d["name"], d["current"]) for d in listed] == [(None, True), ("Laptop", False)]
        ids = client.get(f"/v1/accounts/{person.account_id}/devices", headers=person.headers)
        assert {d["id"] for d in ids.json["devices"]} == {d["id"] for d in listed}

    def test_a_lost_answer(self, client: ContractClient, register: Register) -> None:
        """The same idempotency key gets the same device and token."""
        code = self.link(client, register())
        key = {"Idempotency-Key": KEY}
        first = self.redeem(client, code, headers=key)
        assert self.redeem(client, code, headers=key).json == first.json

    @pytest.mark.parametrize("paste", ["\u2068{}\u2069", " {}\r\n", "\ufeff{}\u200b"])
    def test_a_code_as_it_was_pasted(
        self, client: ContractClient, register: Register, paste: str
    ) -> None:
        """What nobody sees, and line ends, are no part of it."""
        code = self.link(client, register())
        assert self.redeem(client, paste.format(code)).status_code == 201

    def test_a_short_key_is_told_no_token(self, client: ContractClient, register: Register) -> None:
        """Who saw the code on somebody's screen and guesses the key is too late."""
        code = self.link(client, register())
        key = {"Idempotency-Key": "link-1"}
        assert self.redeem(client, code, headers=key).status_code == 201
        assert problem_code(self.redeem(client, code, headers=key)) == "link-code-invalid"

    def test_it_expires(self, client: ContractClient, register: Register, clock: Clock) -> None:
        """After ten minutes the code does not work."""
        code = self.link(client, register())
        clock.advance(600)
        assert problem_code(self.redeem(client, code)) == "link-code-invalid"

    def test_a_new_code_replaces_the_old(self, client: ContractClient, register: Register) -> None:
        """Only the newest code works."""
        person = register()
        old, new = self.link(client, person), self.link(client, person)
        assert problem_code(self.redeem(client, old)) == "link-code-invalid"
        assert self.redeem(client, new).status_code == 201

    @pytest.mark.parametrize("code", ["", "kithlink_x", "x" * 128, "kithlink_" + "A" * 70])
    def test_made_up_codes(self, client: ContractClient, code: str) -> None:
        """A code nobody made does not work."""
        assert problem_code(self.redeem(client, code)) == "link-code-invalid"

    def test_the_most_devices(self, make_app: MakeApp, client: ContractClient) -> None:
        """An account has no more devices than the setting allows."""
        app = make_app(max_devices=1)
        client = app.test_client()
        person = _register(app, client)
        answer = client.post("/v1/device-links", headers=person.headers)
        assert problem_code(answer) == "too-many-devices"

    def test_a_code_dies_with_its_account_taken_over(
        self, client: ContractClient, register: Register
    ) -> None:
        """A code made before the number was registered again lets nobody in."""
        code = self.link(client, register())
        register()
        assert problem_code(self.redeem(client, code)) == "link-code-invalid"


def _register(app: OpenAPI, client: Any) -> Person:
    started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json
    text = client.get("/dev/outbox.json").json["messages"][0]["body"]
    code = next(word for word in text.split() if word.strip(".:,").isdigit())[:6]
    client.post(f"/v1/verifications/{started['id']}/checks", json={"code": code})
    done = client.post("/v1/registrations", json={"verification_id": started["id"]}).json
    return Person(
        NUMBER, done["account_id"], done["device_id"], done["device_token"], done["reregistered"]
    )


def test_rename_and_remove(client: ContractClient, register: Register) -> None:
    """A device is renamed, then removed, which logs it out."""
    person = register(device={"name": "Old"})
    path = f"/v1/devices/{person.device_id}"
    renamed = client.patch(path, json={"name": "Neu — größer"}, headers=person.headers)
    assert renamed.json["name"] == "Neu — größer"
    assert client.delete(path, headers=person.headers).status_code == 204
    assert problem_code(account(client, person.token)) == "token-invalid"


@pytest.mark.parametrize("kind", ["another account's", "unknown", "malformed"])
def test_only_own_devices(client: ContractClient, register: Register, kind: str) -> None:
    """Nobody renames or removes a device that is not hers."""
    mine, theirs = register(NUMBER), register(OTHER_NUMBER)
    identity = {"another account's": theirs.device_id, "unknown": uuid4(), "malformed": "x"}[kind]
    path = f"/v1/devices/{identity}"
    removed = client.delete(path, headers=mine.headers)
    renamed = client.patch(path, json={"name": "x"}, headers=mine.headers)
    assert {problem_code(removed), problem_code(renamed)} == {"device-not-found"}
    assert account(client, theirs.token).status_code == 200


@pytest.mark.parametrize("identity", ["x", "00000000-0000-4000-8000-000000000000", "%00"])
def test_accounts_nobody_has(client: ContractClient, register: Register, identity: str) -> None:
    """The devices of an account that is not there are not found."""
    answer = client.get(f"/v1/accounts/{identity}/devices", headers=register().headers)
    assert problem_code(answer) == "account-not-found"


def test_discoverability(client: ContractClient, register: Register) -> None:
    """The owner decides whether she can be found."""
    person = register()
    for wish in (False, True):
        changed = client.patch("/v1/account", json={"discoverable": wish}, headers=person.headers)
        assert changed.json["discoverable"] is wish
        assert client.get("/v1/account", headers=person.headers).json["discoverable"] is wish


def test_last_seen_is_written_hourly(
    client: ContractClient, register: Register, clock: Clock
) -> None:
    """The time a device was last seen moves in steps of an hour."""
    person = register()

    def last_seen() -> str:
        (device,) = client.get("/v1/devices", headers=person.headers).json["devices"]
        return str(device["last_seen_at"])

    at_first = last_seen()
    clock.advance(3599)
    assert last_seen() == at_first
    clock.advance(1)
    assert last_seen() != at_first


def test_a_link_code_ends_with_any_device(client: ContractClient, register: Register) -> None:
    """A code that a device made which is removed lets nobody in."""
    person = register()
    links = TestLinks()
    laptop = links.redeem(client, links.link(client, person)).json
    code = client.post("/v1/device-links", headers=bearer(laptop["device_token"])).json["link_code"]
    path = f"/v1/devices/{laptop['device_id']}"
    assert client.delete(path, headers=person.headers).status_code == 204
    assert problem_code(links.redeem(client, code)) == "link-code-invalid"


class TestSigningOutOthers:
    """All devices but the calling one end at once."""

    PATH = "/v1/account/other-devices"

    def test_only_the_calling_device_is_left(
        self, client: ContractClient, register: Register
    ) -> None:
        """Tokens and link codes of the others are worth nothing."""
        person, links = register(), TestLinks()
        others = [links.redeem(client, links.link(client, person)).json for _ in range(2)]
        code = links.link(client, person)
        answer = client.delete(self.PATH, headers=person.headers)
        assert answer.status_code == 200
        assert sorted(answer.json["removed"]) == sorted(one["device_id"] for one in others)
        for other in others:
            assert problem_code(account(client, other["device_token"])) == "token-invalid"
        assert problem_code(links.redeem(client, code)) == "link-code-invalid"
        listed = client.get("/v1/devices", headers=person.headers).json["devices"]
        assert [device["id"] for device in listed] == [person.device_id]
        assert client.delete(self.PATH, headers=person.headers).json == {"removed": []}


class TestIdleTokens:
    """The token of a device that is not used expires, where the operator wants that."""

    DAYS = 30

    @pytest.fixture
    def app(self, make_app: MakeApp) -> OpenAPI:
        """The application with that setting."""
        return make_app(token_idle_days=self.DAYS)

    def test_it_expires_unless_it_is_used(
        self, client: ContractClient, register: Register, clock: Clock
    ) -> None:
        """To the second; each use begins the time anew, and a rotated token is no way around it."""
        person = register()
        for _ in range(3):
            clock.advance(days=self.DAYS, seconds=-1)
            assert account(client, person.token).status_code == 200
        newer = TestRotation().rotate(client, person.token)
        clock.advance(days=self.DAYS)
        for token in (person.token, newer, person.token):
            assert problem_code(account(client, token)) == "token-expired"
        forged = person.token[:-8] + "AAAAAAAA"
        assert problem_code(account(client, forged)) == "token-invalid"

    def test_another_device_does_not_prolong_it(
        self, client: ContractClient, register: Register, clock: Clock
    ) -> None:
        """Each device is seen by itself."""
        person, links = register(), TestLinks()
        laptop = links.redeem(client, links.link(client, person)).json["device_token"]
        clock.advance(days=self.DAYS - 1)
        assert account(client, laptop).status_code == 200
        clock.advance(days=1)
        assert problem_code(account(client, person.token)) == "token-expired"
        assert account(client, laptop).status_code == 200


def test_by_default_tokens_do_not_expire(
    client: ContractClient, register: Register, clock: Clock
) -> None:
    """A device that comes back after years is the same."""
    person = register()
    clock.advance(days=3_000)
    assert account(client, person.token).status_code == 200
