"""Registration through HTTP: proofs are single-use, numbers keep their accounts, locks hold."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import NUMBER, OTHER_NUMBER, Clock, Person, problem_code
from tests.contract.openapi import ContractClient

Register = Callable[..., Person]
Verify = Callable[..., str]


def registration(client: ContractClient, identity: str, **fields: Any) -> Any:
    """Ask for a registration."""
    headers = fields.pop("headers", {})
    return client.post(
        "/v1/registrations", json={"verification_id": identity, **fields}, headers=headers
    )


def works(client: ContractClient, headers: dict[str, str]) -> bool:
    """Return whether a token is valid."""
    return client.get("/v1/account", headers=headers).status_code == 200


def test_a_proof_is_single_use(client: ContractClient, verify: Verify) -> None:
    """The second registration with a verification is refused, the first one's token lives."""
    identity = verify()
    first = registration(client, identity)
    assert first.status_code == 201
    assert problem_code(registration(client, identity)) == "verification-used"
    assert works(client, {"Authorization": f"Bearer {first.json['device_token']}"})


def test_a_lost_answer_is_given_again(client: ContractClient, verify: Verify) -> None:
    """With the same idempotency key the same token comes back; with another key or body it does not."""
    identity = verify()
    key = {"Idempotency-Key": "registration-of-a-device-1"}
    first = registration(client, identity, headers=key)
    assert registration(client, identity, headers=key).json == first.json
    other_key = registration(
        client, identity, headers={"Idempotency-Key": "registration-of-a-device-2"}
    )
    assert problem_code(other_key) == "verification-used"
    other_body = registration(client, identity, headers=key, device={"name": "Other"})
    assert problem_code(other_body) == "verification-used"


def test_a_short_key_is_told_no_token(client: ContractClient, verify: Verify) -> None:
    """Whoever has the verification's id and guesses `register-1` gets nothing; the first token lives."""
    identity = verify()
    key = {"Idempotency-Key": "register-1"}
    first = registration(client, identity, headers=key)
    again = registration(client, identity, headers=key)
    assert problem_code(again) == "verification-used"
    assert "at least 22 characters" in again.json["detail"]
    assert works(client, {"Authorization": f"Bearer {first.json['device_token']}"})


def test_nothing_is_registered_before_the_proof(client: ContractClient) -> None:
    """A pending, a canceled and an unknown verification register nothing."""
    identity = client.post("/v1/verifications", json={"phone_number": NUMBER}).json["id"]
    assert problem_code(registration(client, identity)) == "verification-not-verified"
    client.delete(f"/v1/verifications/{identity}")
    assert problem_code(registration(client, identity)) == "verification-closed"
    assert problem_code(registration(client, "nonsense")) == "verification-not-found"


def test_a_proof_expires(client: ContractClient, verify: Verify, clock: Clock) -> None:
    """A verified number must be used within the lifetime of a code."""
    identity = verify()
    clock.advance(600)
    assert problem_code(registration(client, identity)) == "verification-expired"


def test_registering_again_keeps_the_account(client: ContractClient, register: Register) -> None:
    """The number's account stays, its old device is revoked."""
    first = register()
    second = register()
    assert second.account_id == first.account_id
    assert (first.reregistered, second.reregistered) == (False, True)
    assert not works(client, first.headers)
    assert works(client, second.headers)
    devices = client.get("/v1/devices", headers=second.headers).json["devices"]
    assert [device["id"] for device in devices] == [second.device_id]


def test_recycled_numbers(client: ContractClient, register: Register, clock: Clock) -> None:
    """After 120 idle days a number leads to a new account; a day earlier it is the old one."""
    first = register()
    clock.advance(days=119)
    second = register()
    assert second.account_id == first.account_id
    clock.advance(days=120)
    third = register()
    assert third.account_id != first.account_id
    assert third.reregistered is False
    assert not works(client, second.headers)


def test_use_keeps_an_account_from_being_recycled(
    client: ContractClient, register: Register, clock: Clock
) -> None:
    """Idle days count from the last request of any device."""
    first = register()
    for _ in range(3):
        clock.advance(days=100)
        assert works(client, first.headers)
    assert register().account_id == first.account_id


class TestRegistrationLock:
    """The PIN that guards a number."""

    @pytest.fixture
    def owner(self, client: ContractClient, register: Register) -> Person:
        """Someone whose number is locked with 471130."""
        owner = register()
        answer = client.put(
            "/v1/account/registration-lock", json={"pin": "471130"}, headers=owner.headers
        )
        assert answer.status_code == 204
        return owner

    def test_it_is_shown(self, client: ContractClient, owner: Person) -> None:
        """The account says that it is locked, and not with what."""
        account = client.get("/v1/account", headers=owner.headers)
        assert account.json["registration_lock"] is True
        assert "471130" not in account.text

    def test_the_pin_is_needed(self, client: ContractClient, owner: Person, verify: Verify) -> None:
        """Without the PIN, or with a wrong one, the owner stays; with it the proof is still good."""
        identity = verify()
        missing = registration(client, identity)
        assert problem_code(missing) == "registration-locked"
        assert 0 < int(missing.headers["Retry-After"]) <= 7 * 86_400
        wrong = registration(client, identity, registration_lock_pin="0000")
        assert problem_code(wrong) == "registration-locked"
        assert wrong.json["checks_left"] == 9
        assert works(client, owner.headers)
        right = registration(client, identity, registration_lock_pin="471130")
        assert right.status_code == 201
        assert right.json["account_id"] == owner.account_id
        assert not works(client, owner.headers)
        headers = {"Authorization": f"Bearer {right.json['device_token']}"}
        assert client.get("/v1/account", headers=headers).json["registration_lock"] is True

    def test_ten_tries_then_one_a_day(
        self, client: ContractClient, owner: Person, verify: Verify, clock: Clock
    ) -> None:
        """After ten wrong PINs even the right one waits, and a day buys one more try."""
        identity = verify()
        for left in range(9, -1, -1):
            wrong = registration(client, identity, registration_lock_pin="0000")
            assert wrong.json["checks_left"] == left
        refused = registration(client, identity, registration_lock_pin="471130")
        assert problem_code(refused) == "too-many-pin-tries"
        assert refused.headers["Retry-After"] == str(86_400)
        clock.advance(86_400)
        identity = verify()
        assert registration(client, identity, registration_lock_pin="471130").status_code == 201

    def test_it_protects_for_seven_days(
        self, client: ContractClient, owner: Person, verify: Verify, clock: Clock
    ) -> None:
        """Seven days after the account was last seen the number registers without a PIN, unlocked."""
        clock.advance(days=7, seconds=-700)
        assert problem_code(registration(client, verify())) == "registration-locked"
        clock.advance(700)
        done = registration(client, verify())
        assert done.status_code == 201
        assert done.json["account_id"] == owner.account_id
        headers = {"Authorization": f"Bearer {done.json['device_token']}"}
        assert client.get("/v1/account", headers=headers).json["registration_lock"] is False


class TestChangeOfNumber:
    """An account moves to another number."""

    def change(self, client: ContractClient, who: Person, identity: str, **fields: Any) -> Any:
        """Ask for the change."""
        return client.post(
            "/v1/account/phone-number",
            json={"verification_id": identity, **fields},
            headers=who.headers,
        )

    def test_it_keeps_the_account(
        self, client: ContractClient, register: Register, verify: Verify
    ) -> None:
        """Account, device and token stay; the old number is free and leads to a new account."""
        person = register(NUMBER)
        identity = verify(OTHER_NUMBER)
        for _ in range(2):
            changed = self.change(client, person, identity)
            assert changed.status_code == 200
            assert changed.json["phone_number"] == OTHER_NUMBER
            assert changed.json["account_id"] == person.account_id
        assert register(NUMBER).account_id != person.account_id
        assert works(client, person.headers)

    def test_whoever_had_the_number_is_gone(
        self, client: ContractClient, register: Register, verify: Verify
    ) -> None:
        """The proven number leads to one account only."""
        mine, theirs = register(NUMBER), register(OTHER_NUMBER)
        assert self.change(client, mine, verify(OTHER_NUMBER)).status_code == 200
        assert not works(client, theirs.headers)
        assert works(client, mine.headers)

    def test_a_lock_guards_the_number(
        self, client: ContractClient, register: Register, verify: Verify
    ) -> None:
        """A locked number is moved to with its PIN only."""
        mine, theirs = register(NUMBER), register(OTHER_NUMBER)
        client.put("/v1/account/registration-lock", json={"pin": "471130"}, headers=theirs.headers)
        identity = verify(OTHER_NUMBER)
        assert problem_code(self.change(client, mine, identity)) == "registration-locked"
        assert works(client, theirs.headers)
        changed = self.change(client, mine, identity, registration_lock_pin="471130")
        assert changed.status_code == 200
        assert not works(client, theirs.headers)

    def test_its_own_number(
        self, client: ContractClient, register: Register, verify: Verify
    ) -> None:
        """Proving the own number again changes nothing and locks nobody out."""
        person = register(NUMBER)
        assert self.change(client, person, verify(NUMBER)).status_code == 200
        assert works(client, person.headers)

    def test_a_used_proof(self, client: ContractClient, register: Register, verify: Verify) -> None:
        """A proof that registered a device changes no number."""
        person = register(NUMBER)
        identity = verify(OTHER_NUMBER)
        registration(client, identity)
        assert problem_code(self.change(client, person, identity)) == "verification-used"


def test_deleting_the_account(client: ContractClient, register: Register) -> None:
    """Its tokens stop, and the number registers as a new account."""
    person = register()
    assert client.delete("/v1/account", headers=person.headers).status_code == 204
    assert not works(client, person.headers)
    again = register()
    assert again.account_id != person.account_id
    assert again.reregistered is False
