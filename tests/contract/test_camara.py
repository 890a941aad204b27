"""The CAMARA adapter, scenario by scenario of its published test definitions (OTPValidation, r3.2).

Each test's name ends in the tag of its scenario in one-time-password-sms-sendCode.feature or
one-time-password-sms-validateCode.feature. What no scenario describes is in tests/api/test_camara.py.
"""

from datetime import timedelta
from typing import Any

import pytest
from flask_openapi3 import OpenAPI

from sms.provider import BOTH, Blocked, Rejected, SendFailure, SmsMessage
from tests.camara import CORRELATOR, MESSAGE, OWN, Service, error, other_than
from tests.conftest import NUMBER, Clock, MakeApp

LANDLINE = "+4930901820"
NOBODYS = "+49999999"
INVALID = (400, "INVALID_ARGUMENT")
UNAUTHENTICATED = (401, "UNAUTHENTICATED")
#: A body of each operation that its schema allows.
BODIES = {
    "send-code": {"phoneNumber": NUMBER, "message": MESSAGE},
    "validate-code": {"authenticationId": "ea0840f3-3663-4149-bd10-c7c6b8912105", "code": "AJY3"},
}


@pytest.fixture
def service(app: OpenAPI) -> Service:
    """A service with a valid token."""
    return Service(app)


class Refusing:
    """A provider that refuses every message for one reason."""

    name = "refusing"
    channels = BOTH

    def __init__(self, failure: SendFailure) -> None:
        self.failure = failure

    def send(self, message: SmsMessage) -> str:
        """Refuse it."""
        raise self.failure


def test_01_send_code_success_scenario(service: Service) -> None:
    """A code is sent in the words of the message, and the correlation id comes back."""
    answer = service.send()
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.headers["x-correlator"] == CORRELATOR
    assert set(answer.json or {}) == {"authenticationId"}
    assert len((answer.json or {})["authenticationId"]) == 36
    assert service.text() == MESSAGE.replace("{{code}}", service.code())


def test_02_send_code_success_scenario_without_x_correlator(service: Service) -> None:
    """A request needs no correlation id; the answer has one all the same."""
    headers = {"Authorization": f"Bearer {service.token}"}
    answer = service.post("send-code", BODIES["send-code"], headers)
    assert answer.status_code == 200
    assert answer.headers["x-correlator"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("with_type", [True, False])
@pytest.mark.parametrize("operation", BODIES)
def test_400_1_no_request_body(service: Service, operation: str, with_type: bool) -> None:
    """Without a body nothing is done, whether or not a media type is announced."""
    headers = {"Authorization": f"Bearer {service.token}", "x-correlator": CORRELATOR}
    if with_type:
        headers["Content-Type"] = "application/json"
    assert error(service.post(operation, None, headers)) == INVALID


@pytest.mark.parametrize("operation", BODIES)
def test_400_2_empty_request_body(service: Service, operation: str) -> None:
    """An empty object is no request."""
    assert error(service.post(operation, {})) == INVALID


def test_400_4_send_code_incorrect_phone_number_request_body(service: Service) -> None:
    """A number is written with + and country code."""
    assert error(service.send("3301")) == INVALID


@pytest.mark.parametrize("message", [{}, {"message": None}, {"message": ""}])
def test_400_5_send_code_missing_message(service: Service, message: dict[str, Any]) -> None:
    """A message is needed, and null or nothing is none."""
    assert error(service.post("send-code", {"phoneNumber": NUMBER} | message)) == INVALID


def test_400_6_send_code_missing_code_request_body(service: Service) -> None:
    """A message without the label has no place for the code."""
    assert error(service.send(message="message without code")) == INVALID


def test_400_7_send_code_message_too_long(make_app: MakeApp) -> None:
    """A message is as long as the operator allows, and at most 160 characters."""
    filled = MESSAGE.ljust(160, ".")
    service = Service(make_app())
    assert service.send(message=filled).status_code == 200
    assert error(service.send(message=filled + ".")) == INVALID
    short = Service(make_app(camara_message_length=100))
    assert short.send(message=filled[:100]).status_code == 200
    assert error(short.send(message=filled[:101])) == INVALID


@pytest.mark.parametrize("operation", BODIES)
def test_401_1_no_authorization_header(service: Service, operation: str) -> None:
    """A request without a token is refused."""
    answer = service.post(operation, BODIES[operation], {"x-correlator": CORRELATOR})
    assert error(answer) == UNAUTHENTICATED
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="kith"'


@pytest.mark.parametrize("operation", BODIES)
def test_401_2_expired_access_token(app: OpenAPI, clock: Clock, operation: str) -> None:
    """A token is good until its time is over."""
    service = Service(app, life=timedelta(hours=1))
    clock.advance(3599)
    assert error(service.post(operation, {})) == INVALID
    clock.advance(1)
    assert error(service.post(operation, BODIES[operation])) == UNAUTHENTICATED


@pytest.mark.parametrize("operation", BODIES)
def test_401_3_invalid_access_token(service: Service, operation: str) -> None:
    """What is no token of ours is refused."""
    service.token = "invalid"
    assert error(service.post(operation, BODIES[operation])) == UNAUTHENTICATED


def test_03_send_code_max_otp_code(make_app: MakeApp) -> None:
    """Once a number had as many codes as a service may send it there are no more.

    In the scenario's words: the first request that is refused is the `max_send`-th.
    """
    service = Service(make_app(camara_sends_per_day=2))
    service.sent()
    service.sent()
    assert error(service.send()) == (403, f"{OWN}MAX_OTP_CODES_EXCEEDED")


def test_04_send_code_phone_number_not_allowed(make_app: MakeApp) -> None:
    """A number that the provider cannot reach, or the operator does not send to, is not allowed."""
    refused = (403, f"{OWN}PHONE_NUMBER_NOT_ALLOWED")
    unreachable = Service(make_app({"providers": (Refusing(Rejected("30006")),)}))
    assert error(unreachable.send()) == refused
    assert error(unreachable.send("+448000119119")) == refused


def test_05_send_code_phone_number_not_allowed_3(service: Service) -> None:
    """A landline gets no text."""
    assert error(service.send(LANDLINE)) == (403, f"{OWN}PHONE_NUMBER_NOT_ALLOWED")


def test_06_send_code_phone_number_blocked(make_app: MakeApp) -> None:
    """A destination that the provider blocks is blocked."""
    service = Service(make_app({"providers": (Refusing(Blocked("30004")),)}))
    assert error(service.send()) == (403, f"{OWN}PHONE_NUMBER_BLOCKED")


def test_404_1_send_code_phone_number_not_belong_to_operator(service: Service) -> None:
    """A number that is well written and nobody's is not found."""
    assert error(service.send(NOBODYS)) == (404, "NOT_FOUND")


@pytest.mark.parametrize("correlator", [{"x-correlator": CORRELATOR}, {}])
def test_01_and_02_validate_code_success_scenario(
    service: Service, correlator: dict[str, str]
) -> None:
    """The code of the text is right, with a correlation id and without."""
    body = {"authenticationId": service.sent(), "code": service.code()}
    headers = {"Authorization": f"Bearer {service.token}"} | correlator
    answer = service.post("validate-code", body, headers)
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["x-correlator"] == correlator.get(
        "x-correlator", answer.headers["X-Request-Id"]
    )


@pytest.mark.parametrize("identity", [{}, {"authenticationId": None}, {"authenticationId": ""}])
def test_400_3_validate_code_missing_authentication_id(
    service: Service, identity: dict[str, Any]
) -> None:
    """A code must say what it belongs to."""
    assert error(service.post("validate-code", {"code": "123456"} | identity)) == INVALID


@pytest.mark.parametrize("code", [{}, {"code": None}, {"code": ""}])
def test_400_3_validate_code_missing_code(service: Service, code: dict[str, Any]) -> None:
    """A code is needed, and null or nothing is none: no try is lost."""
    body = {"authenticationId": service.sent()}
    for _ in range(6):
        assert error(service.post("validate-code", body | code)) == INVALID
    assert service.validate(body["authenticationId"], service.code()).status_code == 204


def test_400_4_validate_code_exceed_code_max_length(service: Service) -> None:
    """No code has more than ten characters."""
    assert error(service.validate(service.sent(), "thisCodeExceedsTenCharacters")) == INVALID


@pytest.mark.parametrize("code", [None, "AJY3", "0"])
def test_400_5_validate_code_invalid_otp_scenario(service: Service, code: str | None) -> None:
    """Another code than that of the text is wrong, whatever it is made of."""
    identity = service.sent()
    wrong = code or other_than(service.code())
    assert error(service.validate(identity, wrong)) == (400, f"{OWN}INVALID_OTP")
    assert service.validate(identity, service.code()).status_code == 204


def test_400_6_validate_code_verification_expired_scenario_1(
    make_app: MakeApp, clock: Clock
) -> None:
    """A code is good for as long as the operator says."""
    service = Service(make_app(camara_lifetime=120))
    first = service.sent()
    clock.advance(119)
    assert service.validate(first, service.code()).status_code == 204
    second = service.sent()
    clock.advance(120)
    assert error(service.validate(second, service.code())) == (400, f"{OWN}VERIFICATION_EXPIRED")


def test_400_7_validate_code_verification_expired_scenario_2(service: Service) -> None:
    """A newer code of the same number ends the older one."""
    first, first_code = service.sent(), service.code()
    second = service.sent()
    assert error(service.validate(first, first_code)) == (400, f"{OWN}VERIFICATION_EXPIRED")
    assert service.validate(second, service.code()).status_code == 204


def test_400_8_validate_code_verification_expired_scenario_3(service: Service) -> None:
    """A right code is good once."""
    identity, code = service.sent(), service.code()
    assert service.validate(identity, code).status_code == 204
    for again in (code, other_than(code)):
        assert error(service.validate(identity, again)) == (400, f"{OWN}VERIFICATION_EXPIRED")


def test_400_9_validate_code_verification_failed_scenario(make_app: MakeApp) -> None:
    """The wrong code that is the last one allowed fails the verification, and nothing mends it."""
    service = Service(make_app(camara_checks=3))
    identity, code = service.sent(), service.code()
    for _ in range(2):
        assert error(service.validate(identity, other_than(code))) == (400, f"{OWN}INVALID_OTP")
    for last in (other_than(code), code, code):
        assert error(service.validate(identity, last)) == (400, f"{OWN}VERIFICATION_FAILED")


@pytest.mark.parametrize("identity", ["ea0840f3-3663-4149-bd10-c7c6b8912105", "A" * 36, "1"])
def test_404_validate_code_resource_not_found(service: Service, identity: str) -> None:
    """An id that was never given out is unknown."""
    assert error(service.validate(identity, "123456")) == (404, "NOT_FOUND")
