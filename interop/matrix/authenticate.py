"""Authentication at the Matrix door: by access token, in header or query, or by a homeserver's signature."""

from flask import current_app, g, request

from core.api import read_body
from interop.matrix.accounts import MatrixAccountService, MatrixCaller
from interop.matrix.problems import MatrixTokenInvalid, MatrixTokenUnknown
from interop.matrix.signed_requests import SCHEME, HomeserverCaller, RequestVerifier
from tokens.authenticate import bearer_token


def authenticate_user() -> MatrixCaller:
    """Say which Matrix user makes this request; she accepted the terms."""
    return _accounts().authenticate(_token())


def authenticate_before_terms() -> MatrixCaller:
    """Say which Matrix user makes this request, whatever she accepted."""
    return _accounts().authenticate(_token(), need_terms=False)


def authenticate_leaving() -> MatrixCaller:
    """Say who logs out; raises MatrixTokenUnknown when nobody is logged in."""
    try:
        return authenticate_before_terms()
    except MatrixTokenInvalid as invalid:
        raise MatrixTokenUnknown(invalid.detail) from None


def authenticate_unbinding() -> MatrixCaller | HomeserverCaller:
    """Say which user makes this request, or which homeserver signed it; the scheme tells which of them.

    Raises what `authenticate_user` and `RequestVerifier.verify` do.
    """
    header = request.headers.get("Authorization", "")
    if header.partition(" ")[0].lower() != SCHEME:
        return authenticate_user()
    verifier: RequestVerifier = current_app.extensions["kith"].matrix.verifier
    query = request.query_string.decode("latin-1")
    path = f"{request.path}?{query}" if query else request.path
    return verifier.verify(header, request.method, path, read_body(keep=True), g.requester)


def _token() -> str | None:
    return bearer_token() or request.args.get("access_token")


def _accounts() -> MatrixAccountService:
    service: MatrixAccountService = current_app.extensions["kith"].matrix.accounts
    return service
