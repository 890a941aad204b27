"""Logs: no code, no PIN, no token and no whole number, whatever happens and at any level."""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import phonenumbers
import pytest
import structlog
from flask_openapi3 import OpenAPI
from hypothesis import given
from hypothesis import strategies as st

from core.logs import configure, redact
from interop.matrix.accounts import TOKEN_PREFIX as MATRIX_PREFIX
from kith.errors import redact as redact_in_client
from settings import Settings
from tests.conftest import NUMBER, OTHER_NUMBER, Clock, MakeApp, Person, problem_code
from tests.contract.openapi import ContractClient
from tests.databases import ROOT
from tokens.service_tokens import SERVICE_PREFIX
from tokens.token_issuer import LINK_PREFIX, TOKEN_PREFIX, Credential

PIN, WRONG_PIN = "correct-horse-4711", "battery-staple-0815"
TOKEN = TOKEN_PREFIX + "Ab-_" * 22 + "xyz"
Capture = pytest.CaptureFixture[str]


class Entropy:
    """Random bytes, until it is told to fail with a message that should not be logged whole."""

    def __init__(self) -> None:
        self.message: str | None = None

    def __call__(self, size: int) -> bytes:
        """Give bytes, or fail."""
        if self.message is not None:
            raise RuntimeError(self.message)
        return os.urandom(size)


@pytest.fixture
def entropy() -> Entropy:
    """The random source of the application."""
    return Entropy()


@pytest.fixture
def quiet_afterwards() -> Iterator[None]:
    """Put the loggers back: those made in a test write to what was captured in it."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    yield
    root.handlers = before
    root.setLevel(level)


@pytest.fixture
def app(capfd: Capture, quiet_afterwards: None, make_app: MakeApp, entropy: Entropy) -> OpenAPI:
    """An application that logs everything it can."""
    return make_app(ports={"entropy": entropy}, log_level="debug")


@pytest.mark.parametrize("number", ["+4915112345678", "+12015550123", "+123456789012345"])
@pytest.mark.parametrize("text", ["{}", "to {}.", "to={}, and", '"{}"', "({})", "tel:{};x", "{}\n"])
def test_numbers_are_masked_wherever_they_stand(text: str, number: str) -> None:
    """Of a whole number only its beginning and its end are left."""
    redacted = redact(text.format(number))
    assert number[6:-3] not in redacted
    assert redacted == text.format(f"{number[:6]}•••{number[-3:]}")


def test_the_shortest_numbers_are_masked() -> None:
    """Numbers of small countries are as private as long ones."""
    for region, kind in (("SH", 1), ("NU", 1), ("KI", 1), ("FK", 0), ("TA", 0)):
        example = phonenumbers.example_number_for_type(region, kind)
        number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        assert number not in redact(f"to {number}.")


@given(st.binary(min_size=68, max_size=68), st.sampled_from(["{}", "Bearer {}", "'{}',", "a={}"]))
def test_tokens_are_masked(payload: bytes, text: str) -> None:
    """No token and no link code is left, not even a part, in the log nor in the client's errors."""
    from uuid import UUID

    ids, secret = (UUID(bytes=payload[:16]), UUID(bytes=payload[16:32])), payload[32:64]
    token = Credential(ids, secret).format(TOKEN_PREFIX)
    link = Credential(ids[:1], secret).format(LINK_PREFIX)
    service = Credential(ids[:1], secret).format(SERVICE_PREFIX)
    matrix = Credential(ids[:1], secret).format(MATRIX_PREFIX)
    for credential in (token, link, service, matrix):
        assert redact(text.format(credential)) == text.format("kith_…")
        assert redact_in_client(text.format(credential)) == text.format("•••")


def test_tokens_of_every_kind_are_masked() -> None:
    """Whatever kinds of tokens there are: each module that makes one names what it begins with."""
    assigned = re.compile(r'^([A-Z_]*PREFIX) = "([a-z]+_)"$', re.MULTILINE)
    prefixes = {
        found[2]
        for package in ("core", "tokens", "verification", "discovery", "messaging", "interop")
        for path in (ROOT / package).rglob("*.py")
        for found in assigned.finditer(path.read_text())
    }
    assert prefixes >= {"kith_", "kithlink_", "kithsvc_", "kithmx_", "whsec_"}
    secret = "Ab-_09" * 8
    for prefix in prefixes:
        for text in (
            "{}",
            "Bearer {}",
            "bearer.{}, kith.v1.json",
            "?access_token={}&x=1",
            "Bearer%20{}",
        ):
            redacted = redact(text.format(prefix + secret))
            assert secret[:6] not in redacted, (prefix, redacted)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer {}",
        "Authorization: basic {}",
        "Invalid HTTP Header: 'AUTHORIZATION:Bearer {}'",
        "bearer.{}",
    ],
)
def test_credentials_of_others_are_masked(text: str) -> None:
    """What a header authenticates with is masked whoever made it."""
    assert "c2VjcmV0" not in redact(text.format("c2VjcmV0OnNlY3JldA=="))


@pytest.mark.parametrize("plus", ["+", "%2B", "%2b"])
def test_numbers_in_targets_are_masked(plus: str) -> None:
    """As they stand in a log line of the server about a request that it could not read."""
    redacted = redact(f"Error handling request GET /v1/x?phone_number={plus}4915112345678")
    assert "4915112345678" not in redacted
    assert redacted.endswith("+49151•••678")


@pytest.mark.parametrize("text", ["GET /v1/verifications/{}", "GET /v1/verifications/{}/checks"])
def test_ids_that_authorize_are_masked_in_paths(text: str) -> None:
    """Whoever knows a verification's id checks its codes and registers; gunicorn writes whole paths."""
    for identity in ("Ab-_09" * 6, "x" * 32):
        assert redact(text.format(identity)) == text.format("…")
    assert redact(text.format("x" * 31)) == text.format("x" * 31)


def test_other_text_stays() -> None:
    """Times, ids and short numbers are not numbers of people."""
    text = "2026-03-01T12:00:00.123456+00:00 +12 C++ 4915112345 kith 7d9f3c1e-0000-4000-8000-12345"
    assert redact(text) == text


@pytest.mark.parametrize("form", ["json", "console"])
def test_exceptions_are_masked(capfd: Capture, quiet_afterwards: None, form: Any) -> None:
    """What an exception says is masked too, of our loggers and of libraries'."""
    configure(Settings(log_format=form))
    try:
        raise ValueError(f"no account for {NUMBER} with {TOKEN}")
    except ValueError as error:
        structlog.get_logger().error("ours", exc_info=error, to=NUMBER)
        logging.getLogger("library").exception("theirs %s %s", NUMBER, TOKEN)
    output = capfd.readouterr().out
    assert output.count("+49151•••678") == 4
    assert output.count("kith_…") == 3
    assert output.count("ValueError") >= 2
    assert NUMBER not in output
    assert TOKEN not in output


def test_values_in_lists_are_masked(capfd: Capture, quiet_afterwards: None) -> None:
    """The net holds for whatever a line holds."""
    configure(Settings())
    structlog.get_logger().warning("many", to=[NUMBER], by={"token": TOKEN})
    output = capfd.readouterr().out
    assert "many" in output
    assert NUMBER not in output
    assert TOKEN not in output


def test_libraries_tell_their_warnings_only(capfd: Capture, quiet_afterwards: None) -> None:
    """At level debug too, libraries that log whole texts are not heard below a warning."""
    configure(Settings(log_level="debug"))
    for name in ("twilio.http_client", "urllib3.connectionpool", "httpx", "any.other"):
        logging.getLogger(name).info("body: 123456 is your code")
        logging.getLogger(name).warning("careful, %s", name)
    structlog.get_logger().debug("heard")
    lines = capfd.readouterr().out.splitlines()
    assert [json.loads(line)["event"].split(",")[0] for line in lines] == ["careful"] * 4 + [
        "heard"
    ]


def test_each_line_is_an_object_with_a_time(capfd: Capture, app: OpenAPI) -> None:
    """A request is one JSON line with its id, route and status; health checks are none."""
    client = app.test_client()
    client.get("/livez")
    answer = client.get("/v1/account", headers={"X-Request-Id": "request-1"})
    (line,) = [json.loads(text) for text in capfd.readouterr().out.splitlines()]
    assert line.pop("timestamp").endswith("Z")
    assert line.pop("ms") >= 0
    assert line == {
        "event": "request",
        "level": "info",
        "request_id": "request-1",
        "method": "GET",
        "route": "/v1/account",
        "status": 401,
        "problem": "token-missing",
    }
    assert answer.headers["X-Request-Id"] == "request-1"


def test_a_whole_journey_leaves_nothing(
    capfd: Capture,
    client: ContractClient,
    register: Callable[..., Person],
    verify: Callable[..., str],
    read_code: Callable[[str], str],
    entropy: Entropy,
    clock: Clock,
) -> None:
    """Starts, guesses, locks, links, rotations and faults write no code, PIN, token or number."""
    codes, secrets = set(), {PIN, WRONG_PIN}
    anna, ben = register(NUMBER), register(OTHER_NUMBER, device={"name": "Bens Telefon"})
    codes |= {read_code(NUMBER), read_code(OTHER_NUMBER)}
    secrets |= {anna.token, ben.token}

    clock.advance(3600)
    client.put("/v1/account/registration-lock", json={"pin": PIN}, headers=anna.headers)
    identity = verify(NUMBER)
    codes.add(read_code(NUMBER))
    for pin in (WRONG_PIN, PIN):
        body = {"verification_id": identity, "registration_lock_pin": pin}
        answer = client.post("/v1/registrations", json=body, headers={"Idempotency-Key": "k"})
    secrets.add(answer.json["device_token"])
    headers = {"Authorization": f"Bearer {answer.json['device_token']}"}
    secrets.add(client.post("/v1/tokens/rotate", headers=headers).json["device_token"])
    link = client.post("/v1/device-links", headers=headers).json["link_code"]
    redeemed = client.post("/v1/device-links/redeem", json={"link_code": link})
    secrets |= {link, redeemed.json["device_token"]}
    assert problem_code(client.get("/v1/account", headers=anna.headers)) == "token-invalid"

    started = client.post("/v1/verifications", json={"phone_number": OTHER_NUMBER}).json
    path = f"/v1/verifications/{started['id']}"
    right = read_code(OTHER_NUMBER)
    wrong = "314159" if right != "314159" else "271828"
    for guess in (wrong, wrong, "not a code"):
        client.post(f"{path}/checks", json={"code": guess})
    clock.advance(60)
    client.post(f"{path}/sends", json={"channel": "voice"})
    client.post("/v1/verifications", json={"phone_number": f"{NUMBER}0000"})
    client.post("/v1/verifications", data=f"{{{NUMBER}", content_type="application/json")
    codes |= {right, wrong}

    entropy.message = f"no bytes for {NUMBER} with {ben.token}"
    failed = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert problem_code(failed) == "internal-error"
    assert NUMBER not in failed.text

    captured = capfd.readouterr()
    output = captured.out + captured.err
    assert output.count('"event": "request"') > 20
    assert "Traceback" in output
    assert "no bytes for +49151•••678 with kith_…" in output
    assert [secret for secret in secrets if secret in output] == []
    assert [code for code in codes if re.search(rf"(?<!\d){code}(?!\d)", output)] == []
    assert [number for number in (NUMBER, OTHER_NUMBER) if number[1:] in output] == []
