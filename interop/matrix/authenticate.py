"""Authentication at the Matrix door: by access token, in the header or in the query."""

from flask import current_app, request

from interop.matrix.accounts import MatrixAccountService, MatrixCaller
from interop.matrix.problems import MatrixTokenInvalid, MatrixTokenUnknown
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


def _token() -> str | None:
    return bearer_token() or request.args.get("access_token")


def _accounts() -> MatrixAccountService:
    service: MatrixAccountService = current_app.extensions["kith"].matrix.accounts
    return service
