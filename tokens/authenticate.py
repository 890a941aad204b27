"""Authentication of a request by its device token (RFC 6750, header only)."""

from flask import current_app, request

from tokens.problems import TokenMissing
from tokens.service import Caller
from tokens.tokens import TokenService

__all__ = ["Caller", "authenticate_device"]


def authenticate_device() -> Caller:
    """Say which device makes this request; raises a 401 problem when none does."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenMissing("Send Authorization: Bearer kith_… with the token of this device.")
    tokens: TokenService = current_app.extensions["kith"].tokens
    return tokens.authenticate(token.strip())
