"""The registration lock as its owner changes it: set, changed, removed, and shown."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST
from flask_openapi3 import OpenAPI
from sqlalchemy import update

from messaging.message_types import LockRemovalNotice
from tests.conftest import NUMBER, Clock, MakeApp, Person, problem_code
from tests.contract.openapi import ContractClient
from tokens.models import Account
from tokens.problems import RegistrationLocked

Register = Callable[..., Person]
Verify = Callable[..., str]
PATH = "/v1/account/registration-lock"
PIN, OTHER_PIN = "471130", "805263"


@pytest.fixture
def owner(register: Register) -> Person:
    """Someone whose number is not locked yet."""
    return register()


@pytest.fixture
def put(client: ContractClient, owner: Person) -> Callable[..., Any]:
    """Set a PIN; give the response."""

    def put(pin: Any, current_pin: Any = None) -> Any:
        body = {"pin": pin} | ({} if current_pin is None else {"current_pin": current_pin})
        return client.put(PATH, json=body, headers=owner.headers)

    return put


@pytest.fixture
def locked(put: Callable[..., Any], owner: Person) -> Person:
    """Someone whose number is locked."""
    assert put(PIN).status_code == 204
    return owner


def shown(client: ContractClient, person: Person) -> tuple[bool, str | None, str | None]:
    """Read what the account says of its lock."""
    account = client.get("/v1/account", headers=person.headers).json
    return (
        account["registration_lock"],
        account["registration_lock_state"],
        account["registration_lock_ends_at"],
    )


def register_again(client: ContractClient, identity: str, pin: str | None = None) -> Any:
    """Register a verified number, with a PIN or without."""
    body = {"verification_id": identity} | ({"registration_lock_pin": pin} if pin else {})
    return client.post("/v1/registrations", json=body)


class TestSetting:
    """Which PINs there are, and who may set them."""

    @pytest.mark.parametrize("pin", ["471130", "Zw9!k2", "x7 lange Wörter", "00471130"])
    def test_good_pins(self, put: Callable[..., Any], pin: str) -> None:
        """Six digits, or anything else that is as long and not obvious."""
        assert put(pin).status_code == 204

    @pytest.mark.parametrize("pin", ["12345", "x" * 65, 471130, "12\u00003456", None])
    def test_bad_pins(self, put: Callable[..., Any], pin: Any) -> None:
        """A PIN that is too short, too long or no line of text is refused."""
        assert problem_code(put(pin)) == "invalid-fields"

    @pytest.mark.parametrize("pin", ["123456", "111111", "511234", "432115"])
    def test_obvious_pins(
        self, client: ContractClient, put: Callable[..., Any], owner: Person, pin: str
    ) -> None:
        """Rows, repetitions and the own number are refused in words, and nothing is set."""
        assert owner.phone_number == NUMBER == "+4915112345678"
        refused = put(pin)
        assert problem_code(refused) == "invalid-fields"
        assert refused.json["errors"][0]["pointer"] == "/pin"
        assert refused.json["detail"].endswith("so it is easy to guess. Choose another.")
        assert shown(client, owner) == (False, None, None)

    def test_the_current_pin_is_needed(
        self, client: ContractClient, put: Callable[..., Any], locked: Person, verify: Verify
    ) -> None:
        """Without it, or with a wrong one, the PIN stays; with it the new one holds."""
        for refused in (put(OTHER_PIN), put(OTHER_PIN, "999000")):
            assert problem_code(refused) == "registration-locked"
            assert refused.json["checks_left"] < 10
        identity = verify()
        assert register_again(client, identity, OTHER_PIN).status_code == 423
        assert put(OTHER_PIN, PIN).status_code == 204
        assert register_again(client, identity, PIN).status_code == 423
        assert register_again(client, identity, OTHER_PIN).status_code == 201

    def test_a_change_repeated_after_a_lost_answer(
        self, put: Callable[..., Any], locked: Person
    ) -> None:
        """The same request again finds it done, whether or not it named the PIN before."""
        assert put(PIN).status_code == 204
        assert [put(OTHER_PIN, PIN).status_code for _ in range(3)] == [204] * 3

    def test_guesses_are_counted(
        self, client: ContractClient, put: Callable[..., Any], locked: Person, clock: Clock
    ) -> None:
        """Ten, whatever they are named, then one a day; those at a registration are not used up by them."""
        for guess in range(5):
            assert put(f"80526{guess}", f"90526{guess}").status_code == 423
        assert problem_code(put(OTHER_PIN, PIN)) == "too-many-pin-tries"
        clock.advance(86_400)
        assert put(OTHER_PIN, PIN).status_code == 204

    def test_a_thief_with_a_token_cannot_use_up_the_owners_tries(
        self, client: ContractClient, put: Callable[..., Any], locked: Person, verify: Verify
    ) -> None:
        """The owner registers with the PIN though all guesses of devices are used."""
        for guess in range(6):
            put(f"80526{guess}", f"90526{guess}")
        assert register_again(client, verify(), PIN).status_code == 201

    def test_it_is_changed_ten_times_an_hour(
        self, put: Callable[..., Any], locked: Person, clock: Clock
    ) -> None:
        """Each change costs a slow hash, so no device may make them all day."""
        pins = [f"80526{n}" for n in range(10)]
        before = PIN
        for pin in pins[:9]:
            assert put(pin, before).status_code == 204
            before = pin
        refused = put(pins[9], before)
        assert problem_code(refused) == "too-many-pin-tries"
        assert refused.headers["Retry-After"] == "360"
        clock.advance(360)
        assert put(pins[9], before).status_code == 204

    def test_a_shorter_pin_that_was_set_before_still_opens(
        self,
        app: OpenAPI,
        client: ContractClient,
        put: Callable[..., Any],
        owner: Person,
        verify: Verify,
    ) -> None:
        """At a registration, and as the current PIN; a new one has six characters."""
        hasher = PasswordHasher.from_parameters(CHEAPEST)
        with app.extensions["kith"].runtime.database.write() as connection:
            connection.execute(
                update(Account)
                .where(Account.id == UUID(owner.account_id))
                .values(registration_lock=hasher.hash("1234"))
            )
        assert problem_code(put("1234", "1234")) == "invalid-fields"
        assert put(PIN, "1234").status_code == 204
        with app.extensions["kith"].runtime.database.write() as connection:
            connection.execute(update(Account).values(registration_lock=hasher.hash("1234")))
        assert register_again(client, verify(), "1234").status_code == 201


class TestRemoving:
    """With the PIN at once, without it in 7 days."""

    def remove(self, client: ContractClient, person: Person, pin: str) -> Any:
        """Remove it with a PIN."""
        return client.post(f"{PATH}/remove", json={"pin": pin}, headers=person.headers)

    def test_with_the_pin(self, client: ContractClient, locked: Person, register: Register) -> None:
        """A wrong one is refused; with the right one no PIN is asked for any more."""
        assert problem_code(self.remove(client, locked, "999000")) == "registration-locked"
        for _ in range(2):  # a repeated request finds it done
            answer = self.remove(client, locked, PIN)
            assert answer.status_code == 200
            assert answer.json["registration_lock"] is False
        assert register().account_id == locked.account_id

    def test_without_the_pin_it_takes_seven_days(
        self, client: ContractClient, locked: Person, verify: Verify, clock: Clock
    ) -> None:
        """Until then it guards the number; asked for again it ends when it was first said to."""
        answer = client.delete(PATH, headers=locked.headers)
        assert answer.status_code == 200
        assert answer.json["registration_lock_ends_at"] == "2026-03-08T12:00:00Z"
        clock.advance(days=4)
        again = client.delete(PATH, headers=locked.headers).json["registration_lock_ends_at"]
        assert again == "2026-03-08T12:00:00Z"
        clock.advance(days=3, seconds=-700)
        assert shown(client, locked) == (True, "active", "2026-03-08T12:00:00Z")
        assert register_again(client, verify()).status_code == 423
        clock.advance(700)
        assert shown(client, locked) == (False, None, None)
        done = register_again(client, verify())
        assert done.status_code == 201
        assert done.json["account_id"] == locked.account_id

    def test_a_new_pin_needs_none_after_that(
        self, client: ContractClient, put: Callable[..., Any], locked: Person, clock: Clock
    ) -> None:
        """A PIN that is forgotten is replaced in 7 days, and the new one does not end by itself."""
        client.delete(PATH, headers=locked.headers)
        clock.advance(days=7)
        assert put(OTHER_PIN).status_code == 204
        clock.advance(days=6)
        assert shown(client, locked) == (True, "active", None)

    @pytest.mark.parametrize("how", ["keep", "change", "the same PIN"])
    def test_it_stays_after_all(
        self,
        client: ContractClient,
        put: Callable[..., Any],
        locked: Person,
        clock: Clock,
        how: str,
    ) -> None:
        """Any device may say so; whoever knows the PIN says so by setting one."""
        client.delete(PATH, headers=locked.headers)
        if how == "keep":
            answer = client.post(f"{PATH}/keep", headers=locked.headers)
            assert answer.json["registration_lock_ends_at"] is None
        else:
            assert put(OTHER_PIN if how == "change" else PIN, PIN).status_code == 204
        clock.advance(days=6)
        assert shown(client, locked) == (True, "active", None)
        clock.advance(days=6)
        assert shown(client, locked) == (True, "active", None)

    def test_a_registration_with_the_pin_ends_it(
        self, client: ContractClient, locked: Person, verify: Verify, clock: Clock
    ) -> None:
        """What a thief asked for is gone with the thief's device."""
        client.delete(PATH, headers=locked.headers)
        token = register_again(client, verify(), PIN).json["device_token"]
        account = client.get("/v1/account", headers={"Authorization": f"Bearer {token}"}).json
        assert account["registration_lock_state"] == "active"
        assert account["registration_lock_ends_at"] is None

    def test_where_nothing_is_locked(self, client: ContractClient, owner: Person) -> None:
        """All of them change nothing."""
        answers = [
            self.remove(client, owner, PIN),
            client.delete(PATH, headers=owner.headers),
            client.post(f"{PATH}/keep", headers=owner.headers),
        ]
        for answer in answers:
            assert answer.status_code == 200
            assert answer.json["registration_lock"] is False

    def test_every_device_is_told(
        self, app: OpenAPI, client: ContractClient, locked: Person, clock: Clock
    ) -> None:
        """At once if its socket is open, else when it opens it, as long as it is to happen."""
        kith = app.extensions["kith"]
        heard: list[Any] = []

        class Listener:
            """An open socket."""

            def on_notice(self, notice: Any) -> None:
                """Take a notice."""
                heard.append(notice)

            def close(self, why: Any) -> None:
                """End."""

        code = client.post("/v1/device-links", headers=locked.headers).json["link_code"]
        linked = client.post("/v1/device-links/redeem", json={"link_code": code}).json
        other = {"Authorization": f"Bearer {linked['device_token']}"}
        caller = kith.tokens.device_tokens.authenticate(linked["device_token"])

        def notices() -> list[Any]:
            return kith.messaging.streams.pending_notices(caller)

        with kith.messaging.registry.register(UUID(locked.device_id), Listener()):
            client.delete(PATH, headers=other)
            ends_at = heard.pop().ends_at
            assert f"{ends_at:%Y-%m-%d %H:%M}" == "2026-03-08 12:00"
            assert LockRemovalNotice(ends_at) in notices()
            client.post(f"{PATH}/keep", headers=other)
            assert heard == [LockRemovalNotice(None)]
        assert not [n for n in notices() if type(n) is LockRemovalNotice]


class TestLapsing:
    """Only a device of the account revives a lock that lapsed."""

    def state(self, app: OpenAPI, person: Person) -> str | None:
        """Read the state as an operator sees it, without being a device."""
        done = app.test_cli_runner().invoke(args=["devices", "list", person.account_id])
        return str(done.stderr.removeprefix("Registration lock: ").partition(".")[0])

    def test_it_lapses_and_a_device_revives_it(
        self, app: OpenAPI, client: ContractClient, locked: Person, clock: Clock, verify: Verify
    ) -> None:
        """After 7 days without any device it guards nothing; with the next use it does."""
        clock.advance(days=7, seconds=-1)
        assert self.state(app, locked) == "active"
        clock.advance(1)
        assert self.state(app, locked) == "lapsed"
        assert shown(client, locked) == (True, "active", None)
        assert self.state(app, locked) == "active"
        assert register_again(client, verify()).status_code == 423


def test_a_lock_of_nobody(app: OpenAPI, owner: Person) -> None:
    """The operator sees that there is none."""
    done = app.test_cli_runner().invoke(args=["devices", "list", owner.account_id])
    assert "Registration lock: none." in done.stderr


def test_of_two_changes_at_once_one_is_refused(make_app: MakeApp, register: Register) -> None:
    """A PIN that was changed after it was judged is not overwritten."""
    app = make_app()
    kith, person = app.extensions["kith"], register()
    caller = kith.tokens.device_tokens.authenticate(person.token)
    kith.tokens.lock_changes.set(caller, PIN, None)
    account = kith.tokens.accounts.get(caller)
    kith.tokens.lock_changes.set(caller, OTHER_PIN, PIN)
    with pytest.raises(RegistrationLocked, match="changed just now"):
        kith.tokens.lock_changes._store(caller, account.registration_lock, None)
