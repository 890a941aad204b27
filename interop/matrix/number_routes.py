"""Routes of the Matrix adapter for numbers: validation, bindings and lookups."""

import re

from flask import Response, g

from core.api import Api
from core.phone_numbers import PhoneNumberInvalid
from core.problems import IdempotencyInProgress, InvalidFields, Problem
from discovery.problems import BudgetExhausted, BudgetTooSmall, EpochUnknown
from interop.matrix.accounts import MatrixCaller
from interop.matrix.authenticate import MatrixAuthentication
from interop.matrix.bindings import MEDIUM, BindingService, milliseconds
from interop.matrix.lookups import MatrixLookupService
from interop.matrix.problems import (
    HomeserverUnavailable,
    InvitationNotStored,
    MatrixLookupForbidden,
    MatrixLookupsRateLimited,
    MatrixMediumUnknown,
    MatrixNumberInUse,
    MatrixTermsNotSigned,
    MatrixTokenInvalid,
    MatrixUserForbidden,
    SignedRequestMalformed,
    SignedRequestRefused,
    TooManyHomeserverKeys,
)
from interop.matrix.routes import matrix_api
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
from interop.matrix.sessions import ValidationService
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

#: Shown to a person who followed the link with their token.
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Number validated</title>
<p>Your number is validated. Please go back to your Matrix client.</p></html>
"""
SESSION: tuple[type[Problem], ...] = (
    VerificationNotFound,
    VerificationNotVerified,
    VerificationExpired,
    VerificationClosed,
)
LOOKUP: tuple[type[Problem], ...] = (
    EpochUnknown,
    BudgetExhausted,
    BudgetTooSmall,
    MatrixLookupForbidden,
    MatrixLookupsRateLimited,
)
USER: tuple[type[Problem], ...] = (MatrixTokenInvalid, MatrixTermsNotSigned)


def number_apis(
    validations: ValidationService,
    bindings: BindingService,
    lookups: MatrixLookupService,
    authentication: MatrixAuthentication,
) -> tuple[Api, ...]:
    """Return the routes for users who accepted the terms, and unbinding, which homeservers may sign."""
    numbers = matrix_api(
        "numbers", "validating, binding and looking up numbers", authentication.user, USER
    )
    unbinding = matrix_api(
        "unbinding",
        "unbinding, by a user or by the homeserver that signs for one",
        authentication.user_or_homeserver,
        (
            *USER,
            SignedRequestMalformed,
            SignedRequestRefused,
            HomeserverUnavailable,
            TooManyHomeserverKeys,
        ),
        ({"matrix_signature": []},),
    )

    @numbers.operation("GET", "/v2/account", answer=MatrixAccountAnswer)
    def get_matrix_account(caller: MatrixCaller) -> MatrixAccountAnswer:
        """Show the user of the access token."""
        return MatrixAccountAnswer(user_id=caller.user_id)

    @numbers.operation(
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
        """Send a number its token, once a `send_attempt`, and answer the session."""
        sid, e164 = validations.request(caller, body, g.requester)
        return SessionAnswer(sid=sid, msisdn=e164.removeprefix("+"))

    @numbers.operation(
        "POST", "/v2/validate/msisdn/submitToken", answer=SuccessAnswer, problems=CHECK_REFUSALS
    )
    def submit_matrix_token(caller: MatrixCaller, body: SubmitBody) -> SuccessAnswer:
        """Check a token; the right one validates the session's number."""
        validations.submit(caller, body.sid, body.client_secret, body.token)
        return SuccessAnswer()

    @numbers.operation(
        "GET",
        "/v2/validate/msisdn/submitToken",
        answer={"description": "A page", "content": {"text/html": {}}},
        also={"302": {"description": "To the session's `next_link`."}},
        problems=CHECK_REFUSALS,
    )
    def follow_matrix_token(caller: MatrixCaller, query: SubmitQuery) -> Response:
        """Check the token of a link that a person followed; redirect them, or show a page."""
        link = validations.submit(caller, query.sid, query.client_secret, query.token)
        if link is None:
            return Response(PAGE, mimetype="text/html")
        return Response(status=302, headers={"Location": link})

    @numbers.operation("GET", "/v2/3pid/getValidated3pid", answer=ValidatedAnswer, problems=SESSION)
    def get_validated_number(caller: MatrixCaller, query: SessionQuery) -> ValidatedAnswer:
        """Show which number a session validated, and when."""
        number = validations.read(caller, query.sid, query.client_secret)
        return ValidatedAnswer(
            medium=MEDIUM,
            address=number.e164.removeprefix("+"),
            validated_at=milliseconds(number.validated_at),
        )

    @numbers.operation(
        "POST",
        "/v2/3pid/bind",
        answer=AssociationAnswer,
        problems=(*SESSION, VerificationUsed, MatrixUserForbidden, RegistrationLocked),
    )
    def bind_number(caller: MatrixCaller, body: BindBody) -> AssociationAnswer:
        """Bind a session's number to the caller, and sign the association."""
        return AssociationAnswer(**bindings.bind(caller, body))

    @unbinding.operation(
        "POST",
        "/v2/3pid/unbind",
        answer=NothingAnswer,
        problems=(*SESSION, MatrixUserForbidden, RegistrationLocked),
    )
    def unbind_number(caller: MatrixCaller | HomeserverCaller, body: UnbindBody) -> NothingAnswer:
        """Unbind a number."""
        bindings.unbind(caller, body)
        return NothingAnswer()

    @numbers.operation("GET", "/v2/hash_details", answer=HashDetailsAnswer)
    def get_hash_details() -> HashDetailsAnswer:
        """Show how to hash numbers now."""
        return lookups.hash_details()

    @numbers.operation(
        "POST", "/v2/lookup", answer=MappingsAnswer, problems=(InvalidFields, *LOOKUP)
    )
    def look_up_matrix_users(caller: MatrixCaller, body: LookupBody) -> Response:
        """Find the Matrix users of a page of addresses."""
        return Response(lookups.look_up(caller, body, g.requester), mimetype="application/json")

    @numbers.operation(
        "POST",
        "/v2/store-invite",
        answer={"description": "Never answered: invitations are not stored."},
        problems=(
            InvitationNotStored,
            MatrixNumberInUse,
            MatrixMediumUnknown,
            PhoneNumberInvalid,
            *LOOKUP,
        ),
    )
    def store_matrix_invite(caller: MatrixCaller, body: InviteBody) -> NothingAnswer:
        """Refuse an invitation, and name the number's user if there is one; costs a lookup of one number."""
        if body.medium != MEDIUM:
            raise MatrixMediumUnknown("Invite somebody by phone number.")
        if not re.fullmatch(MSISDN, body.address):
            raise PhoneNumberInvalid("Send the number as international digits.")
        user = lookups.user_of(caller, body.address, g.requester)
        if user is not None:
            raise MatrixNumberInUse("Invite its user instead.", mxid=user)
        raise InvitationNotStored(
            "Nobody with this number can be found here. Send them a link to the room instead."
        )

    return numbers, unbinding
