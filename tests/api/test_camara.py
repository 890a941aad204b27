"""The CAMARA adapter beyond its published scenarios: whose codes they are, what fits, how all of it fails."""

from datetime import timedelta
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from core.database import Database, table
from interop.camara.service import CamaraService
from sms.provider import BOTH, SmsMessage, Unavailable
from tests.camara import CORRELATOR, MESSAGE, OWN, PREFIX, Service, error, other_than
from tests.conftest import NUMBER, Clock, MakeApp, problem_code
from tests.contract.openapi import ContractClient
from tests.typed import AS_TYPED, unreadable
from tokens.models import ServiceToken

EXPIRED = (400, f"{OWN}VERIFICATION_EXPIRED")
INVALID = (400, "INVALID_ARGUMENT")


@pytest.fixture
def service(app: OpenAPI) -> Service:
    """A service with a valid token."""
    return Service(app)


class TestWhoseItIs:
    """A code is its service's; other services and the native routes know nothing of it."""

    def test_another_service_finds_nothing(self, app: OpenAPI, service: Service) -> None:
        """Its id is unknown to others, whose guesses cost nothing, and whose own codes live on."""
        other = Service(app, "bank")
        first, first_code = service.sent(), service.code()
        second, second_code = other.sent(), other.code()
        for _ in range(6):
            assert error(other.validate(first, first_code)) == (404, "NOT_FOUND")
        assert service.validate(first, first_code).status_code == 204
        assert other.validate(second, second_code).status_code == 204

    def test_the_next_token_finishes_what_the_last_began(
        self, app: OpenAPI, service: Service
    ) -> None:
        """Tokens of one name speak for one service, so that they can be replaced at any time."""
        tokens = app.extensions["kith"].tokens.service_tokens
        (last,) = tokens.all()
        identity = service.sent()
        service.renew()
        assert tokens.revoke(last.id)
        assert service.validate(identity, service.code()).status_code == 204

    def test_native_routes_find_nothing(self, service: Service, client: ContractClient) -> None:
        """Whoever builds the native id of it cannot see, guess at, resend, end or register with it."""
        identity, code = service.sent(), service.code()
        native = identity + "AAAAAAA"
        path = f"/v1/verifications/{native}"
        for answer in (
            client.get(path),
            *(client.post(f"{path}/checks", json={"code": code}) for _ in range(6)),
            client.post(f"{path}/sends", json={}),
            client.delete(path),
            client.post("/v1/registrations", json={"verification_id": native}),
        ):
            assert problem_code(answer) == "verification-not-found"
        assert service.validate(identity, code).status_code == 204
        proven = client.post("/v1/registrations", json={"verification_id": native})
        assert problem_code(proven) == "verification-not-found"

    def test_a_native_verification_is_not_found_here(
        self, service: Service, client: ContractClient
    ) -> None:
        """Nor can a service use up a person's verification, or end it with a code of its own."""
        started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json
        code = service.code()
        assert error(service.validate(started["id"][:36], code)) == (404, "NOT_FOUND")
        service.sent()
        checked = client.post(f"/v1/verifications/{started['id']}/checks", json={"code": code})
        assert checked.json["status"] == "verified"

    def test_limits_are_of_this_door_alone(self, make_app: MakeApp, clock: Clock) -> None:
        """Sends, tries and lifetime here are neither taken from nor given to the native routes."""
        app = make_app(camara_sends_per_day=1, camara_checks=1, camara_lifetime=60)
        service, client = Service(app), app.test_client()
        identity = service.sent()
        assert error(service.send()) == (403, f"{OWN}MAX_OTP_CODES_EXCEEDED")
        assert error(service.validate(identity, other_than(service.code()))) == (
            400,
            f"{OWN}VERIFICATION_FAILED",
        )
        Service(app, "bank").sent()
        started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json
        assert started["checks_left"] == 5
        clock.advance(60)
        assert client.get(f"/v1/verifications/{started['id']}").json["status"] == "pending"
        clock.advance(timedelta(days=1).total_seconds())
        service.sent()


class TestTyped:
    """Numbers and codes as a service's people paste them."""

    def test_codes_as_typed(self, service: Service) -> None:
        """The right code is right however it was typed, and what cannot be one is never a guess."""
        for at, typed in enumerate(AS_TYPED):
            identity = service.sent(number := f"+49151123455{at:02d}")
            code = service.code(number)
            for text in ("AJY3", " ".join(f"{code}7"), *unreadable(code)):
                assert error(service.validate(identity, text)) == (400, f"{OWN}INVALID_OTP")
            assert service.validate(identity, typed(code)).status_code == 204

    @pytest.mark.parametrize("number", ["", "0151 12345678", "4915112345678", "+49 151 XXXX678"])
    def test_other_forms_of_numbers_are_told_the_right_one(
        self, service: Service, number: str
    ) -> None:
        """A developer reads what to send instead, and no regular expression."""
        answer = service.post("send-code", {"phoneNumber": number, "message": MESSAGE})
        assert error(answer) == INVALID
        assert (answer.json or {})["message"].endswith(
            "Write the phoneNumber with + and country code, such as +4915112345678."
        )

    def test_thirty_pastes_make_no_code_longer(self, service: Service) -> None:
        """Only guesses count against a number, and half a code that was pasted is none."""
        identity = service.sent()
        for _ in range(30):
            answer = service.validate(identity, service.code()[1:])
            assert error(answer) == (400, f"{OWN}INVALID_OTP")
        assert len(service.code()) == 6
        service.sent()
        assert len(service.code()) == 6

    @pytest.mark.parametrize(
        "number", ["\u2068+4915112345678\u2069", "+49 151 12345678\n", "+49\u00a0151\u00ad12345678"]
    )
    def test_numbers_as_pasted(self, service: Service, number: str) -> None:
        """What nobody sees is taken out; what is left is E.164, as CAMARA has it."""
        service.sent(number=number)
        assert service.text()

    @pytest.mark.parametrize("number", ["015112345678", "4915112345678", "+49 151 123x"])
    def test_other_forms_are_refused(self, service: Service, number: str) -> None:
        """CAMARA's number is E.164 with its plus and nothing else."""
        assert error(service.send(number=number)) == (400, "INVALID_ARGUMENT")


class TestToken:
    """What a token must be good for."""

    def test_revoked(self, app: OpenAPI, service: Service) -> None:
        """A revoked token is worth nothing from the next request on."""
        tokens = app.extensions["kith"].tokens.service_tokens
        service.sent()
        tokens.revoke(tokens.all()[0].id)
        assert error(service.send()) == (401, "UNAUTHENTICATED")

    def test_without_the_scope(self, service: Service, database: Database) -> None:
        """A token for something else is known, and not permitted."""
        with database.write() as connection:
            connection.execute(update(table(ServiceToken)).values(scopes="something-else"))
        assert error(service.send()) == (403, "PERMISSION_DENIED")

    def test_a_device_token_is_none(self, service: Service, register: Any) -> None:
        """People's devices have no business here."""
        service.token = register().token
        assert error(service.send()) == (401, "UNAUTHENTICATED")

    def test_a_service_token_is_no_device_token(
        self, service: Service, client: ContractClient
    ) -> None:
        """Nor have services any on the native routes."""
        headers = {"Authorization": f"Bearer {service.token}"}
        assert problem_code(client.get("/v1/account", headers=headers)) == "token-invalid"


class TestMessage:
    """What may stand around the code."""

    @pytest.mark.parametrize(
        "message",
        [
            "{{code}}",
            "Cool App: {{code}}\n\n@cool.example #{{code}}",
            "{{code}}" + "é" * 152,
            "{{code}}" + "я" * 62,
            "رمز {{code}}\u200f",
            "👍🏽 {{code}}",
        ],
    )
    def test_what_fits_one_segment_is_sent_as_it_is(self, service: Service, message: str) -> None:
        """Line ends, other alphabets and several labels are the service's to choose."""
        identity = service.sent(message=message)
        assert service.text() == message.replace("{{code}}", service.code())
        assert service.validate(identity, service.code()).status_code == 204

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends_of_any_kind(self, service: Service, end: str) -> None:
        """What a web form posts is one line end, and one character of the text's length."""
        message = f"Cool App: {{{{code}}}}{end}{end}" + "é" * 140
        service.sent(message=message)
        assert service.text() == f"Cool App: {service.code()}\n\n" + "é" * 140

    @pytest.mark.parametrize(
        "message",
        [
            "{{code}}" + "я" * 63,
            "{{code}}" + "€" * 77,
            "{{code}}" + "é" * 151 + "я",
            "{{code}}\x00",
            "{ {code}}",
        ],
    )
    def test_what_does_not_is_refused(self, service: Service, message: str) -> None:
        """A second segment and control characters are not, and the error says what is."""
        answer = service.send(message=message)
        assert error(answer) == INVALID
        assert "message" in (answer.json or {})["message"].partition(". ")[2]

    def test_fields_of_later_versions_are_ignored(self, service: Service) -> None:
        """The schema allows what it does not name."""
        body = {"phoneNumber": NUMBER, "message": MESSAGE, "channel": "rcs"}
        assert service.post("send-code", body).status_code == 200


class TestCorrelator:
    """The correlation id is the caller's, within its pattern."""

    @pytest.mark.parametrize("correlator", ["", "a", "A_z-0:9;./<>{}", "x" * 256])
    def test_what_fits_is_echoed(self, service: Service, correlator: str) -> None:
        """Any text of the pattern comes back as it is, on errors too."""
        answer = service.post("send-code", {}, {"x-correlator": correlator})
        assert answer.headers["x-correlator"] == correlator
        assert answer.status_code == 401

    @pytest.mark.parametrize("correlator", ["x" * 257, "a b", "a,b", "ä", '"'])
    def test_what_does_not_is_refused(self, service: Service, correlator: str) -> None:
        """Other text is an invalid argument, and is not repeated."""
        headers = {"Authorization": f"Bearer {service.token}", "x-correlator": correlator}
        body = {"phoneNumber": NUMBER, "message": MESSAGE}
        answer = service.post("send-code", body, headers)
        assert (answer.status_code, (answer.json or {})["code"]) == INVALID
        assert answer.headers["x-correlator"] == answer.headers["X-Request-Id"]


class Failing:
    """A provider that is away until it is told to come back."""

    name = "failing"
    channels = BOTH
    away = True

    def send(self, message: SmsMessage) -> str:
        """Take the message, or be away."""
        if self.away:
            raise Unavailable("503", retry_after=7)
        return "1"


class TestFailing:
    """Whatever goes wrong under the adapter's prefix has CAMARA's shape, and nothing else has."""

    def test_a_provider_that_is_away(self, make_app: MakeApp) -> None:
        """Nothing was sent, so nothing is counted."""
        provider = Failing()
        service = Service(make_app({"providers": (provider,)}, camara_sends_per_day=1))
        for _ in range(2):
            answer = service.send()
            assert error(answer) == (503, "UNAVAILABLE")
            assert answer.headers["Retry-After"]
        provider.away = False
        assert service.send().status_code == 200

    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            (OperationalError("SELECT", {}, Exception()), (503, "UNAVAILABLE")),
            (ZeroDivisionError(), (500, "INTERNAL")),
        ],
    )
    def test_faults_of_ours(
        self,
        app: OpenAPI,
        service: Service,
        monkeypatch: pytest.MonkeyPatch,
        fault: Exception,
        expected: tuple[int, str],
    ) -> None:
        """A database that is away and a fault in the code say so, and no more."""

        def fail(*_: object) -> None:
            raise fault

        monkeypatch.setattr(CamaraService, "send_code", fail)
        app.config["PROPAGATE_EXCEPTIONS"] = False
        assert error(service.send()) == expected

    def test_what_is_no_request(self, app: OpenAPI, service: Service) -> None:
        """Broken JSON, another media type, too much of it and other methods are refused in kind."""
        headers = {"Authorization": f"Bearer {service.token}", "x-correlator": CORRELATOR}
        client, path = app.test_client(), f"{PREFIX}/send-code"
        json = {"headers": headers, "content_type": "application/json"}
        assert error(client.post(path, data=b'{"a"', **json)) == INVALID
        assert error(client.post(path, data=b"x" * 1_048_577, **json)) == INVALID
        form = client.post(path, data={"a": "b"}, headers=headers)
        assert error(form) == (415, "UNSUPPORTED_MEDIA_TYPE")
        other = client.get(path, headers=headers)
        assert error(other) == (405, "METHOD_NOT_ALLOWED")
        assert "POST" in other.headers["Allow"]

    def test_paths_that_are_not_there(self, app: OpenAPI) -> None:
        """Under the prefix an unknown path is CAMARA's; beside it, ours."""
        client = app.test_client()
        assert error(client.get(f"{PREFIX}/nothing")) == (404, "NOT_FOUND")
        for path in (f"{PREFIX}-nothing", "/one-time-password-sms/v2/send-code"):
            assert problem_code(client.get(path)) == "not-found"

    def test_a_number_that_is_guessed_at(self, app: OpenAPI, service: Service) -> None:
        """After 25 wrong codes, whoever's, those of 6 digits are expired, and the next has 8."""
        waiting, code = service.sent(), service.code()
        guesser = Service(app, "guesser")
        for _ in range(5):
            identity, other = guesser.sent(), guesser.code()
            for _ in range(5):
                guesser.validate(identity, other_than(other))
        assert error(service.validate(waiting, code)) == EXPIRED
        longer = service.sent()
        assert len(service.code()) == 8
        assert service.validate(longer, service.code()).status_code == 204
