"""Routes of the Matrix door: who uses it, and on what terms."""

from flask import current_app, g
from flask_openapi3 import Schema

from core.api import Api, parse_json
from interop.matrix.accounts import MatrixAccountService, MatrixCaller
from interop.matrix.authenticate import (
    authenticate_before_terms,
    authenticate_leaving,
)
from interop.matrix.errors import MATRIX_ERRORS, PREFIX, allow_all_origins, answer_preflight
from interop.matrix.problems import (
    HomeserverUnavailable,
    MatrixTokenInvalid,
    MatrixTokenUnknown,
    OpenIdRefused,
    SigningKeyNotFound,
    TooManyMatrixRegistrations,
)
from interop.matrix.schemas import (
    AcceptBody,
    KeyPath,
    MatrixError,
    NothingAnswer,
    PublicKeyAnswer,
    PublicKeyQuery,
    RegisterBody,
    TermsAnswer,
    TokenAnswer,
    ValidAnswer,
    VersionsAnswer,
)
from interop.matrix.signing import Signer

#: Those that have the second version of this API, up to the one that this was written by.
VERSIONS = ["r0.3.0", *(f"v1.{minor}" for minor in range(1, 12))]
SECURITY: tuple[dict[str, list[str]], ...] = ({"matrix_token": []},)

open_api = Api(
    "identity service (Matrix)",
    __name__,
    description="Identity Service API v2: versions, registration, terms and keys, open to all",
    refusals=MATRIX_ERRORS,
    url_prefix=PREFIX,
    parse=parse_json,
)
terms_api = Api(
    "terms (Matrix)",
    __name__,
    description="Identity Service API v2: the terms are accepted by whoever has a token",
    authenticate=authenticate_before_terms,
    security=SECURITY,
    problems=(MatrixTokenInvalid,),
    refusals=MATRIX_ERRORS,
    url_prefix=PREFIX,
    parse=parse_json,
)
leaving_api = Api(
    "logout (Matrix)",
    __name__,
    description="Identity Service API v2: logging out, whatever the terms",
    authenticate=authenticate_leaving,
    security=SECURITY,
    problems=(MatrixTokenUnknown,),
    refusals=MATRIX_ERRORS,
    url_prefix=PREFIX,
    parse=parse_json,
)
# The terms are shown to all at the path where they are accepted by some, and of blueprints with a path in
# common flask-openapi3 would describe the last one only.
terms_api.paths = open_api.paths
open_api.components_schemas["MatrixError"] = Schema(**MatrixError.model_json_schema())
open_api.before_app_request(answer_preflight)
for api in (open_api, terms_api, leaving_api):
    api.after_request(allow_all_origins)


def _accounts() -> MatrixAccountService:
    service: MatrixAccountService = current_app.extensions["kith"].matrix.accounts
    return service


def _signer() -> Signer:
    signer: Signer = current_app.extensions["kith"].matrix.signer
    return signer


@open_api.operation("GET", "/versions", answer=VersionsAnswer)
def get_matrix_versions() -> VersionsAnswer:
    """Name the versions of the specification that hold here."""
    return VersionsAnswer(versions=VERSIONS)


@open_api.operation("GET", "/v2", answer=NothingAnswer)
def ping_matrix() -> NothingAnswer:
    """Say that there is an identity service here."""
    return NothingAnswer()


@open_api.operation(
    "POST",
    "/v2/account/register",
    answer=TokenAnswer,
    problems=(OpenIdRefused, HomeserverUnavailable, TooManyMatrixRegistrations),
)
def register_matrix_user(body: RegisterBody) -> TokenAnswer:
    """Give an access token for an OpenID token, which the user's homeserver is asked about."""
    token = _accounts().register(body.matrix_server_name, body.access_token, g.requester)
    return TokenAnswer(token=token, access_token=token)


@leaving_api.operation("POST", "/v2/account/logout", answer=NothingAnswer)
def log_out_matrix_user(caller: MatrixCaller) -> NothingAnswer:
    """Make the token worthless."""
    _accounts().log_out(caller)
    return NothingAnswer()


@open_api.operation("GET", "/v2/terms", answer=TermsAnswer)
def get_matrix_terms() -> TermsAnswer:
    """Show the terms of service."""
    return TermsAnswer.model_validate({"policies": _accounts().policies.shown})


@terms_api.operation("POST", "/v2/terms", answer=NothingAnswer)
def accept_matrix_terms(caller: MatrixCaller, body: AcceptBody) -> NothingAnswer:
    """Accept terms of service by their URLs."""
    _accounts().accept(caller, body.user_accepts)
    return NothingAnswer()


@open_api.operation(
    "GET", "/v2/pubkey/<key_id>", answer=PublicKeyAnswer, problems=(SigningKeyNotFound,)
)
def get_matrix_public_key(path: KeyPath) -> PublicKeyAnswer:
    """Give a public key by its name."""
    key = _signer().public_key(path.key_id)
    if key is None:
        raise SigningKeyNotFound("An association names the key it is signed with.")
    return PublicKeyAnswer(public_key=key)


@open_api.operation("GET", "/v2/pubkey/isvalid", answer=ValidAnswer)
def check_matrix_public_key(query: PublicKeyQuery) -> ValidAnswer:
    """Say whether a public key is this service's."""
    return ValidAnswer(valid=_signer().is_valid(query.public_key))


@open_api.operation("GET", "/v2/pubkey/ephemeral/isvalid", answer=ValidAnswer)
def check_matrix_ephemeral_key(query: PublicKeyQuery) -> ValidAnswer:
    """Say that a short-lived key is not valid: there are none, because nobody is invited here."""
    return ValidAnswer(valid=False)
