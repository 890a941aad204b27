"""`kith register` and `kith link` lead a person from a number to stored credentials."""

import base64
import json
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kith.commands.code_prompt import find_code
from kith.storage import Credentials, CredentialsFile
from tests.unit.kith.canned import ACCOUNT, REGISTRATION, TOKEN, VERIFICATION, Script, ok, problem
from tests.unit.kith.conftest import SERVER, Run

NUMBER = ACCOUNT["phone_number"]
PATH = f"/v1/verifications/{VERIFICATION['id']}"
VERIFIED = ok({**VERIFICATION, "status": "verified"})


@pytest.fixture
def happy(script: Script) -> Script:
    """Return a server where all goes well."""
    script.on("POST /v1/verifications", ok({**VERIFICATION, "next_voice_in": 120}, 201))
    script.on(f"POST {PATH}/checks", VERIFIED)
    script.on("POST /v1/registrations", ok(REGISTRATION, 201))
    return script


def test_register_asks_for_the_code(run: Run, happy: Script, credentials_path: Path) -> None:
    """A number and a code make credentials that only their owner can read."""
    result = run("register", NUMBER, "--name", "Laptop", stdin="123 456\n")

    assert result.exit_code == 0, result.output
    assert result.stdout == f"You are {NUMBER}, account {ACCOUNT['account_id']}.\n"
    assert f"A text is on its way to {NUMBER}" in result.stderr
    assert '"again" sends it again in 60 seconds, or "call" has it read out in 2 m' in result.stderr
    assert happy.bodies(f"POST {PATH}/checks") == [{"code": "123456"}]
    assert happy.bodies("POST /v1/registrations")[0]["device"]["name"] == "Laptop"
    stored = CredentialsFile(credentials_path).load()
    assert (stored.server, stored.device_token) == (SERVER, TOKEN)
    assert TOKEN not in result.output


def test_register_by_call_as_json(run: Run, happy: Script) -> None:
    """--voice asks for a call, --region completes the number, --json prints data without token."""
    voice = {**VERIFICATION, "channel": "voice", "next_sms_in": None}
    happy.on("POST /v1/verifications", ok(voice, 201))
    happy.on("POST /v1/registrations", ok({**REGISTRATION, "reregistered": True}, 201))

    result = run("register", "0151 12345678", "--region", "de", "--voice", "--json", stdin="123456")

    assert happy.bodies("POST /v1/verifications") == [
        {"phone_number": "0151 12345678", "region": "DE", "channel": "voice"}
    ]
    assert "A call is on its way" in result.stderr
    assert "Nothing came" not in result.stderr
    assert json.loads(result.stdout)["reregistered"] is True
    assert TOKEN not in result.output


def test_returning_people_are_welcomed(run: Run, happy: Script) -> None:
    """Registering again says that the other devices were signed out."""
    happy.on("POST /v1/registrations", ok({**REGISTRATION, "reregistered": True}, 201))

    assert "Welcome back" in run("register", NUMBER, stdin="123456\n").stdout


def test_wrong_codes_may_be_entered_again(run: Run, happy: Script) -> None:
    """A wrong code tells how many tries are left; a mistyped one costs none."""
    happy.on(
        f"POST {PATH}/checks",
        problem("code-rejected", 422, checks_left=4),
        problem("code-rejected", 422),
        VERIFIED,
    )

    result = run("register", NUMBER, stdin="12345\n111111\n222222\n123456\n")

    assert result.exit_code == 0
    assert "The code has 6 digits." in result.stderr
    assert "That is not the code. 4 tries left." in result.stderr
    assert len(happy.sent(f"POST {PATH}/checks")) == 3


def test_the_last_wrong_code_ends_it(run: Run, happy: Script) -> None:
    """With no tries left the command ends and says how to go on."""
    happy.on(f"POST {PATH}/checks", problem("code-rejected", 422, checks_left=0))

    assert run("register", NUMBER, stdin="111111\n").exit_code == 5

    happy.on(f"POST {PATH}/checks", problem("checks-exhausted", 429, {"Retry-After": "30"}))
    result = run("register", NUMBER, stdin="111111\n")

    assert result.exit_code == 6
    assert "Start again with: kith register NUMBER Try again in 30 seconds." in result.stderr


def test_codes_can_be_sent_again_or_read_out(run: Run, happy: Script) -> None:
    """Words instead of a code ask for another text or a call; too early is not fatal."""
    happy.on(
        f"POST {PATH}/sends",
        problem("send-too-soon", 429, {"Retry-After": "40"}),
        ok({**VERIFICATION, "next_sms_in": 0}, 201),
        ok(VERIFICATION, 201),
        problem("no-sends-left", 409),
    )

    result = run("register", NUMBER, stdin="again\nAGAIN\ncall\nagain\n123456\n")

    assert result.exit_code == 0
    assert "Try again in 40 seconds." in result.stderr
    assert "On its way again." in result.stderr
    assert '"again" sends it again now' in result.stderr
    assert "A call is on its way." in result.stderr
    assert "Start again later" in result.stderr
    channels = [body["channel"] for body in happy.bodies(f"POST {PATH}/sends")]
    assert channels == ["sms", "sms", "voice", "sms"]


def test_refused_sends_end_it(run: Run, happy: Script) -> None:
    """A number that cannot receive is not asked for a code."""
    happy.on(f"POST {PATH}/sends", problem("send-rejected", 422))

    assert run("register", NUMBER, stdin="again\n123456\n").exit_code == 5
    assert happy.sent(f"POST {PATH}/checks") == []


def test_a_lost_check_is_looked_up(run: Run, happy: Script) -> None:
    """When the answer to a check is lost, the verification tells whether it arrived."""
    happy.on(f"POST {PATH}/checks", httpx.ReadTimeout("lost"))
    happy.on(f"GET {PATH}", ok(VERIFICATION), VERIFIED)

    result = run("register", NUMBER, stdin="123456\n123456\n")

    assert result.exit_code == 0
    assert "Enter it again" in result.stderr


def test_locked_accounts_ask_for_the_pin(run: Run, happy: Script, tmp_path: Path) -> None:
    """The PIN is asked for without showing it, again when it is wrong, and not for ever."""
    locked = problem("registration-locked", 423, {"Retry-After": "604800"})
    happy.on("POST /v1/registrations", locked, locked, ok(REGISTRATION, 201))

    result = run("register", NUMBER, stdin="123456\n1111\n2468\n")

    assert result.exit_code == 0
    assert "locked by a PIN" in result.stderr
    assert "That is not the PIN." in result.stderr
    assert "2468" not in result.output
    pins = [body.get("registration_lock_pin") for body in happy.bodies("POST /v1/registrations")]
    assert pins == [None, "1111", "2468"]

    happy.on("POST /v1/registrations", locked)
    wrong = tmp_path / "pin"
    wrong.write_text("0\n")
    result = run("register", NUMBER, "--pin-file", str(wrong), stdin="123456\n1\n2\n3\n")
    assert result.exit_code == 6
    assert "Try again in 7 days." in result.stderr


def keys_published(script: Script) -> bytes:
    """Return the identity key that was published last."""
    return decoded(script.bodies("PUT /v1/keys")[-1]["identity_key"])


def decoded(text: str) -> bytes:
    """Read base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_machine_with_its_old_keys_offers_them(run: Run, happy: Script) -> None:
    """Registering the number again signs the verification's id with the identity key, unasked."""
    assert run("register", NUMBER, stdin="123456\n").exit_code == 0
    happy.on("POST /v1/registrations", ok({**REGISTRATION, "reregistered": True}, 201))

    result = run("register", NUMBER, stdin="123456\n")

    first, second = happy.bodies("POST /v1/registrations")
    assert "recover_device" not in first
    recovery = second["recover_device"]
    assert recovery["device_id"] == REGISTRATION["device_id"]
    Ed25519PublicKey.from_public_bytes(keys_published(happy)).verify(
        decoded(recovery["signature"]), b"\x03" + VERIFICATION["id"].encode()
    )
    assert "This one kept its messages." in result.stdout


def test_a_device_that_is_gone_begins_anew(run: Run, happy: Script) -> None:
    """When the server has kept nothing the registration goes on without it, with the same proof."""
    assert run("register", NUMBER, stdin="123456\n").exit_code == 0
    new = {**REGISTRATION, "device_id": "33333333-3333-4333-8333-333333333333"}
    happy.on("POST /v1/registrations", problem("device-not-recoverable", 409), ok(new, 201))
    devices = ok({"devices": [{"id": new["device_id"]}]})
    happy.on(f"GET /v1/accounts/{ACCOUNT['account_id']}/devices", devices)

    result = run("register", NUMBER, stdin="123456\n")

    assert result.exit_code == 0
    assert "it starts over" in result.stderr
    assert "kept its messages" not in result.stdout
    offered = ["recover_device" in body for body in happy.bodies("POST /v1/registrations")]
    assert offered == [False, True, False]


@pytest.mark.usefixtures("signed_in")
def test_a_machine_that_never_had_keys_offers_none(run: Run, happy: Script) -> None:
    """Credentials without a store, or of another number, recover nothing."""
    assert run("register", NUMBER, stdin="123456\n").exit_code == 0
    other = {**VERIFICATION, "phone_number": "+442079460000"}
    happy.on("POST /v1/verifications", ok(other, 201))
    assert run("register", "+442079460000", "--replace", stdin="123456\n").exit_code == 0
    assert not any("recover_device" in body for body in happy.bodies("POST /v1/registrations"))


def test_keys_that_cannot_be_opened_are_not_given_up_unasked(
    run: Run, happy: Script, credentials_path: Path
) -> None:
    """Without the key file the person decides whether what waits is lost."""
    assert run("register", NUMBER, stdin="123456\n").exit_code == 0
    credentials_path.with_suffix(".key").unlink()

    stopped = run("register", NUMBER, stdin="123456\nwrong\nn\n")
    assert stopped.exit_code == 130
    assert "are lost then" in stopped.stderr
    assert len(happy.sent("POST /v1/registrations")) == 1

    assert run("register", NUMBER, stdin="123456\nwrong\ny\nwrong\n").exit_code == 0
    assert "recover_device" not in happy.bodies("POST /v1/registrations")[1]


def outbox(*bodies: str) -> httpx.Response:
    """Return the outbox with texts, newest first."""
    texts = [
        {"to": NUMBER, "body": body, "channel": "sms", "sent_at": "2026-11-22T10:20:30Z"}
        for body in bodies
    ]
    return ok({"messages": texts})


def test_dev_reads_the_code_from_the_outbox(run: Run, happy: Script) -> None:
    """--dev needs no person: it waits for the newest text and takes its code."""
    happy.on("GET /dev/outbox.json", outbox(), outbox("Your code: 654321"))

    result = run("register", NUMBER, "--dev")

    assert result.exit_code == 0
    assert happy.bodies(f"POST {PATH}/checks") == [{"code": "654321"}]
    assert happy.slept == [0.5]


@pytest.mark.parametrize("answer", [problem("not-found", 404), outbox("no digits here")])
def test_dev_needs_a_development_server(answer: httpx.Response, run: Run, happy: Script) -> None:
    """Without an outbox --dev says so."""
    happy.on("GET /dev/outbox.json", answer)

    result = run("register", NUMBER, "--dev")

    assert result.exit_code == 5
    assert "mock provider" in result.stderr


@pytest.mark.parametrize(
    ("body", "length", "code"),
    [
        ("Kith: 123456\n@example.com #123456", 6, "123456"),
        ("12345678", 8, "12345678"),
        ("12345678", 6, None),
        ("Your code is 1, 2, 3, 4, 5, 6. Again: 1, 2, 3, 4, 5, 6.", 6, "123456"),
        ("call 1, 2, 3", 6, None),
    ],
)
def test_codes_in_texts_and_calls(body: str, length: int, code: str | None) -> None:
    """A text holds the code in one piece, a call digit by digit."""
    assert find_code(body, length) == code


def test_other_credentials_are_not_replaced_unasked(
    run: Run, happy: Script, signed_in: Credentials
) -> None:
    """A profile of another number is kept unless the person agrees; the same number needs no word."""
    kept = run("register", "+442079460000", stdin="n\n")
    assert kept.exit_code == 130
    assert happy.requests == []

    assert run("register", "nonsense", "--replace", stdin="123456\n").exit_code == 0
    assert run("register", "+442079460000", stdin="y\n123456\n").exit_code == 0
    assert run("register", "0151 12345678", "--region", "DE", stdin="123456\n").exit_code == 0


def test_no_text_is_paid_for_when_credentials_cannot_be_stored(
    run: Run, happy: Script, tmp_path: Path
) -> None:
    """The place for the credentials is tried before anything is sent."""
    (tmp_path / "file").write_text("")

    result = run("--credentials", str(tmp_path / "file" / "c.json"), "register", NUMBER)

    assert result.exit_code == 7
    assert happy.requests == []


def test_no_input_ends_it(run: Run, happy: Script) -> None:
    """A script that gives no code gets exit code 130 and one line."""
    result = run("register", NUMBER, stdin="")

    assert result.exit_code == 130
    assert "Stopped" in result.stderr


def test_refused_numbers_say_what_to_do(run: Run, script: Script) -> None:
    """A wrong number names the field and the way to write it."""
    faults = [{"pointer": "/phone_number", "detail": "no number"}]
    script.on("POST /v1/verifications", problem("phone-number-invalid", 422, errors=faults))

    result = run("register", "123")

    assert result.exit_code == 5
    assert result.stderr == (
        "kith: Detail of phone-number-invalid. /phone_number: no number\n"
        "      Write it as +4915112345678, or give --region.\n"
    )


def test_who_named_the_region_is_not_told_to(run: Run, script: Script) -> None:
    """The hint is about the number, which is what is wrong."""
    script.on("POST /v1/verifications", problem("phone-number-invalid", 422))

    result = run("register", "123", "--region", "uk")

    assert result.exit_code == 5
    assert result.stderr == (
        "kith: Detail of phone-number-invalid.\n"
        "      Check the number, or write it as +4915112345678.\n"
    )


def test_link_redeems_a_code(run: Run, script: Script, credentials_path: Path) -> None:
    """A link code makes this machine a device; the number comes from the account."""
    linked = {key: REGISTRATION[key] for key in ("account_id", "device_id", "device_token")}
    script.on("POST /v1/device-links/redeem", ok(linked, 201))
    script.on("GET /v1/account", ok(ACCOUNT))

    result = run("link", "link-me", "--name", "Tablet", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["phone_number"] == NUMBER
    assert CredentialsFile(credentials_path).load().phone_number == NUMBER
    assert script.bodies("POST /v1/device-links/redeem")[0]["link_code"] == "link-me"


def test_a_linked_token_survives_a_broken_connection(
    run: Run, script: Script, credentials_path: Path
) -> None:
    """The token of a link code that works once is on disk before anything else can fail."""
    linked = {key: REGISTRATION[key] for key in ("account_id", "device_id", "device_token")}
    script.on("POST /v1/device-links/redeem", ok(linked, 201))
    script.on("GET /v1/account", httpx.ConnectError("gone"))

    assert run("link", "link-me").exit_code == 4
    assert CredentialsFile(credentials_path).load().device_token == TOKEN

    declined = run("link", "another", stdin="n\n")
    assert "signed in as a linked device" in declined.stderr
