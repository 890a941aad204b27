"""Routes of the Matrix door behind its terms: numbers are validated, bound and looked up."""

import re
from typing import Any

from flask import Response, current_app, g

from core.api import Api, parse_json
from core.phone_numbers import PhoneNumberInvalid
from core.problems import IdempotencyInProgress, InvalidFields
from discovery.problems import BudgetExhausted, BudgetTooSmall, EpochUnknown
from interop.matrix.accounts import MatrixCaller
from interop.matrix.authenticate import authenticate_unbinding, authenticate_user
from interop.matrix.bindings import MEDIUM, milliseconds
from interop.matrix.errors import MATRIX_ERRORS, PREFIX, allow_all_origins
from interop.matrix.problems import (
    HomeserverCeilingReached,
    HomeserverUnavailable,
    InvitationNotStored,
    MatrixLookupForbidden,
    MatrixMediumUnknown,
    MatrixNumberInUse,
    MatrixTermsNotSigned,
    MatrixTokenInvalid,
    MatrixUserForbidden,
    SignedRequestMalformed,
    SignedRequestRefused,
    TooManyHomeserverKeys,
)
from interop.matrix.routes import SECURITY
from interop.matrix.schemas import (
    MSISDN,
    AssociationAnswer,
    BindBody,
    HashDetailsAnswer,
    InviteBody,
    LookupBody,
    MappingsAnswer,
    MatrixAccountAnswer,
    NothingAnswer,
    RequestToken,
    SessionAnswer,
    SessionQuery,
    SubmitBody,
    SubmitQuery,
    SuccessAnswer,
    UnbindBody,
    ValidatedAnswer,
)
from interop.matrix.signed_requests import HomeserverCaller
from tokens.problems import RegistrationLocked
from verification.problems import (
    CHECK_REFUSALS,
    SEND_REFUSALS,
    SendTooSoon,
    TestNumberExpired,
    TooManyWrongCodes,
    VerificationClosed,
    VerificationExpired,
    VerificationNotFound,
    VerificationNotVerified,
    VerificationUsed,
)

numbers_api = Api(
    "numbers (Matrix)",
    __name__,
    description="Identity Service API v2: validating, binding and looking up numbers",
    authenticate=authenticate_user,
    security=SECURITY,
    problems=(MatrixTokenInvalid, MatrixTermsNotSigned),
    refusals=MATRIX_ERRORS,
    url_prefix=PREFIX,
    parse=parse_json,
)
#: Open to homeservers too, by their signature.
unbinding_api = Api(
    "unbinding (Matrix)",
    __name__,
    description="Identity Service API v2: unbinding, by a user or by the homeserver that signs for one",
    authenticate=authenticate_unbinding,
    security=(*SECURITY, {"matrix_signature": []}),
    problems=(
        MatrixTokenInvalid,
        MatrixTermsNotSigned,
        SignedRequestMalformed,
        SignedRequestRefused,
        HomeserverUnavailable,
        TooManyHomeserverKeys,
    ),
    refusals=MATRIX_ERRORS,
    url_prefix=PREFIX,
    parse=parse_json,
)
for api in (numbers_api, unbinding_api):
    api.after_request(allow_all_origins)

#: What a person sees who followed a link with her token.
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Number validated</title>
<p>Your number is validated. Please go back to your Matrix client.</p></html>
"""
SESSION = (
    VerificationNotFound,
    VerificationNotVerified,
    VerificationExpired,
    VerificationClosed,
)


def _service() -> Any:
    return current_app.extensions["kith"].matrix


@numbers_api.operation("GET", "/v2/account", answer=MatrixAccountAnswer)
def get_matrix_account(caller: MatrixCaller) -> MatrixAccountAnswer:
    """Say whose token it is."""
    return MatrixAccountAnswer(user_id=caller.user_id)


@numbers_api.operation(
    "POST",
    "/v2/validate/msisdn/requestToken",
    answer=SessionAnswer,
    problems=(
        PhoneNumberInvalid,
        TestNumberExpired,
        *SEND_REFUSALS,
        SendTooSoon,
        TooManyWrongCodes,
        IdempotencyInProgress,
    ),
)
def request_matrix_token(caller: MatrixCaller, body: RequestToken) -> SessionAnswer:
    """Send a number its token, once a `send_attempt`, and give the session."""
    sid, e164 = _service().validations.request(caller, body, g.requester)
    return SessionAnswer(sid=sid, msisdn=e164.removeprefix("+"))


@numbers_api.operation(
    "POST", "/v2/validate/msisdn/submitToken", answer=SuccessAnswer, problems=CHECK_REFUSALS
)
def submit_matrix_token(caller: MatrixCaller, body: SubmitBody) -> SuccessAnswer:
    """Judge a token; the right one validates the session's number."""
    _service().validations.submit(caller, body.sid, body.client_secret, body.token)
    return SuccessAnswer()


@numbers_api.operation(
    "GET",
    "/v2/validate/msisdn/submitToken",
    answer={"description": "A page", "content": {"text/html": {}}},
    also={"302": {"description": "On to the session's `next_link`."}},
    problems=CHECK_REFUSALS,
)
def follow_matrix_token(caller: MatrixCaller, query: SubmitQuery) -> Response:
    """Judge the token of a link that a person followed; lead her on, or show her a page."""
    link = _service().validations.submit(caller, query.sid, query.client_secret, query.token)
    if link is None:
        return Response(PAGE, mimetype="text/html")
    return Response(status=302, headers={"Location": link})


@numbers_api.operation("GET", "/v2/3pid/getValidated3pid", answer=ValidatedAnswer, problems=SESSION)
def get_validated_number(caller: MatrixCaller, query: SessionQuery) -> ValidatedAnswer:
    """Say which number a session validated, and when."""
    number = _service().validations.read(caller, query.sid, query.client_secret)
    return ValidatedAnswer(
        medium=MEDIUM,
        address=number.e164.removeprefix("+"),
        validated_at=milliseconds(number.validated_at),
    )


@numbers_api.operation(
    "POST",
    "/v2/3pid/bind",
    answer=AssociationAnswer,
    problems=(*SESSION, VerificationUsed, MatrixUserForbidden, RegistrationLocked),
)
def bind_number(caller: MatrixCaller, body: BindBody) -> AssociationAnswer:
    """Bind a session's number to the caller, and sign that."""
    association: dict[str, Any] = _service().bindings.bind(caller, body)
    return AssociationAnswer(**association)


@unbinding_api.operation(
    "POST",
    "/v2/3pid/unbind",
    answer=NothingAnswer,
    problems=(*SESSION, MatrixUserForbidden, RegistrationLocked),
)
def unbind_number(caller: MatrixCaller | HomeserverCaller, body: UnbindBody) -> NothingAnswer:
    """Bind a number to somebody no longer."""
    _service().bindings.unbind(caller, body)
    return NothingAnswer()


@numbers_api.operation("GET", "/v2/hash_details", answer=HashDetailsAnswer)
def get_hash_details() -> HashDetailsAnswer:
    """Say how to hash now."""
    details: HashDetailsAnswer = _service().lookups.hash_details()
    return details


@numbers_api.operation(
    "POST",
    "/v2/lookup",
    answer=MappingsAnswer,
    problems=(
        InvalidFields,
        EpochUnknown,
        BudgetExhausted,
        BudgetTooSmall,
        MatrixLookupForbidden,
        HomeserverCeilingReached,
    ),
)
def look_up_matrix_users(caller: MatrixCaller, body: LookupBody) -> Response:
    """Find the Matrix users of a page of addresses."""
    text = _service().lookups.look_up(caller, body, g.requester)
    return Response(text, mimetype="application/json")


@numbers_api.operation(
    "POST",
    "/v2/store-invite",
    answer={"description": "Does not come: no invitation is stored here."},
    problems=(
        InvitationNotStored,
        MatrixNumberInUse,
        MatrixMediumUnknown,
        PhoneNumberInvalid,
        EpochUnknown,
        BudgetExhausted,
        BudgetTooSmall,
        MatrixLookupForbidden,
        HomeserverCeilingReached,
    ),
)
def store_matrix_invite(caller: MatrixCaller, body: InviteBody) -> NothingAnswer:
    """Say whose a number is that is to be invited; nothing is stored, so it is always refused.

    To ask is to look up, so it costs what a lookup of the number does.
    """
    if body.medium != MEDIUM:
        raise MatrixMediumUnknown("Invite somebody by phone number.")
    if not re.fullmatch(MSISDN, body.address):
        raise PhoneNumberInvalid("Send the number as international digits.")
    user = _service().lookups.user_of(caller, body.address, g.requester)
    if user is not None:
        raise MatrixNumberInUse("Invite its user instead.", mxid=user)
    raise InvitationNotStored(
        "Nobody with this number can be found here. Send them a link to the room instead."
    )
