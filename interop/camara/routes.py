"""Routes of the CAMARA adapter."""

from collections.abc import Callable

from flask import request
from flask_openapi3 import Schema

from core.api import Api, service_token
from core.phone_numbers import PhoneNumberInvalid
from core.problems import MalformedRequest
from interop.camara.errors import (
    CAMARA_ERRORS,
    CORRELATOR,
    CORRELATOR_HEADER,
    can_correlate,
    correlate,
)
from interop.camara.schemas import ErrorInfo, SendCodeBody, SendCodeResponse, ValidateCodeBody
from interop.camara.service import CamaraService
from tokens.authenticate import ServiceCaller
from tokens.problems import (
    ScopeMissing,
    ServiceTokenExpired,
    ServiceTokenInvalid,
    ServiceTokenMissing,
)
from tokens.service_tokens import SEND_AND_VALIDATE
from verification.problems import (
    CHECK_REFUSALS,
    SEND_REFUSALS,
    TestNumberExpired,
    TooManyWrongCodes,
)


def camara_api(service: CamaraService, authenticate: Callable[[], ServiceCaller]) -> Api:
    """Return the routes of one-time-password-sms."""
    api = Api(
        "one-time passwords (CAMARA)",
        __name__,
        description="OTP Validation, one-time-password-sms 1.1.1, for services with a token",
        authenticate=authenticate,
        security=(service_token(SEND_AND_VALIDATE),),
        problems=(
            ServiceTokenMissing,
            ServiceTokenInvalid,
            ServiceTokenExpired,
            ScopeMissing,
            MalformedRequest,
        ),
        headers=({"name": CORRELATOR, "in": "header", "required": False} | CORRELATOR_HEADER,),
        error_format=CAMARA_ERRORS,
        url_prefix="/one-time-password-sms/v1",
    )
    api.components_schemas["ErrorInfo"] = Schema(**ErrorInfo.model_json_schema())
    api.before_request(refuse_invalid_correlator)
    api.after_request(correlate)

    @api.operation(
        "POST",
        "/send-code",
        answer=SendCodeResponse,
        problems=(PhoneNumberInvalid, TestNumberExpired, *SEND_REFUSALS, TooManyWrongCodes),
    )
    def send_code(caller: ServiceCaller, body: SendCodeBody) -> SendCodeResponse:
        """Send a code to a number, in the service's own text."""
        return SendCodeResponse(authentication_id=service.send_code(caller, body))

    @api.operation(
        "POST",
        "/validate-code",
        answer={
            "description": "The OTP was successfully validated",
            "headers": {CORRELATOR: CORRELATOR_HEADER},
        },
        status=204,
        problems=CHECK_REFUSALS,
    )
    def validate_code(caller: ServiceCaller, body: ValidateCodeBody) -> None:
        """Validate a code; the right one is accepted once."""
        service.validate_code(caller, body)

    return api


def refuse_invalid_correlator() -> None:
    """Refuse a correlation id that could not be repeated in the response."""
    if not can_correlate(request.headers.get(CORRELATOR, "")):
        raise MalformedRequest(
            "An x-correlator is up to 256 letters, digits and any of -_:;./<>{}."
        )
