"""Routes of the Matrix adapter for users: versions, registration, terms and keys."""

from collections.abc import Callable
from typing import Any

from flask import g
from flask_openapi3 import Schema

from core.api import Api
from core.parsing import parse_json
from core.problems import Problem
from interop.matrix.accounts import MatrixAccountService, MatrixCaller
from interop.matrix.authenticate import MatrixAuthentication
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

#: Versions of the specification with the second version of this API, up to the one implemented.
VERSIONS = ["r0.3.0", *(f"v1.{minor}" for minor in range(1, 12))]


def matrix_api(
    name: str,
    description: str,
    authenticate: Callable[[], Any] | None = None,
    problems: tuple[type[Problem], ...] = (),
    security: tuple[dict[str, list[str]], ...] = (),
) -> Api:
    """Return a blueprint with Matrix's errors and CORS; `security` is accepted besides the access token."""
    api = Api(
        f"{name} (Matrix)",
        __name__,
        description=f"Identity Service API v2: {description}",
        authenticate=authenticate,
        security=({"matrix_token": []}, *security),
        problems=problems,
        error_format=MATRIX_ERRORS,
        url_prefix=PREFIX,
        parse=parse_json,
    )
    api.after_request(allow_all_origins)
    return api


def account_apis(
    accounts: MatrixAccountService, signer: Signer, authentication: MatrixAuthentication
) -> tuple[Api, ...]:
    """Return the routes that are public, that need an access token only, and for logging out."""
    public = matrix_api("identity service", "versions, registration, terms and keys; public")
    public.components_schemas["MatrixError"] = Schema(**MatrixError.model_json_schema())
    public.before_app_request(answer_preflight)
    terms = matrix_api(
        "terms", "accepting the terms", authentication.user_before_terms, (MatrixTokenInvalid,)
    )
    # GET and POST of one path are in two blueprints; flask-openapi3 would document the last one only.
    terms.paths = public.paths
    logout = matrix_api(
        "logout", "logging out", authentication.user_logging_out, (MatrixTokenUnknown,)
    )

    @public.operation("GET", "/versions", answer=VersionsAnswer)
    def get_matrix_versions() -> VersionsAnswer:
        """List the supported versions of the specification."""
        return VersionsAnswer(versions=VERSIONS)

    @public.operation("GET", "/v2", answer=NothingAnswer)
    def ping_matrix() -> NothingAnswer:
        """Answer that there is an identity service here."""
        return NothingAnswer()

    @public.operation(
        "POST",
        "/v2/account/register",
        answer=TokenAnswer,
        problems=(OpenIdRefused, HomeserverUnavailable, TooManyMatrixRegistrations),
    )
    def register_matrix_user(body: RegisterBody) -> TokenAnswer:
        """Verify an OpenID token with the named homeserver, and issue an access token."""
        token = accounts.register(body.matrix_server_name, body.access_token, g.requester)
        return TokenAnswer(token=token, access_token=token)

    @logout.operation("POST", "/v2/account/logout", answer=NothingAnswer)
    def log_out_matrix_user(caller: MatrixCaller) -> NothingAnswer:
        """Delete the access token."""
        accounts.log_out(caller)
        return NothingAnswer()

    @public.operation("GET", "/v2/terms", answer=TermsAnswer)
    def get_matrix_terms() -> TermsAnswer:
        """Show the terms of service."""
        return TermsAnswer.model_validate({"policies": accounts.terms.shown})

    @terms.operation("POST", "/v2/terms", answer=NothingAnswer)
    def accept_matrix_terms(caller: MatrixCaller, body: AcceptBody) -> NothingAnswer:
        """Accept terms of service by their URLs."""
        accounts.accept_terms(caller, body.user_accepts)
        return NothingAnswer()

    @public.operation(
        "GET", "/v2/pubkey/<key_id>", answer=PublicKeyAnswer, problems=(SigningKeyNotFound,)
    )
    def get_matrix_public_key(path: KeyPath) -> PublicKeyAnswer:
        """Show a public key by its id."""
        return PublicKeyAnswer(public_key=signer.public_key(path.key_id))

    @public.operation("GET", "/v2/pubkey/isvalid", answer=ValidAnswer)
    def check_matrix_public_key(query: PublicKeyQuery) -> ValidAnswer:
        """Check whether a public key is this service's."""
        return ValidAnswer(valid=signer.is_valid(query.public_key))

    @public.operation("GET", "/v2/pubkey/ephemeral/isvalid", answer=ValidAnswer)
    def check_matrix_ephemeral_key(query: PublicKeyQuery) -> ValidAnswer:
        """Answer that an ephemeral key is not valid; there are none, because nobody is invited here."""
        return ValidAnswer(valid=False)

    return public, terms, logout
