"""Authentication of a request by its bearer token (RFC 6750, header only): a device's or a service's."""

from flask import current_app, request

from core.problems import TooManyConnections
from core.serving.connection import Connection
from tokens.device_tokens import DeviceTokenService
from tokens.devices import Caller
from tokens.problems import ScopeMissing, ServiceTokenMissing, TokenMissing
from tokens.service_tokens import SERVICE_PREFIX, ServiceCaller, ServiceTokenService

__all__ = [
    "Caller",
    "ServiceCaller",
    "authenticate_device",
    "authenticate_device_or_service",
    "authenticate_service",
]


def authenticate_device() -> Caller:
    """Say which device makes this request; raises a 401 problem when none does, or TooManyConnections."""
    token = bearer_token()
    if token is None:
        raise TokenMissing("Send Authorization: Bearer kith_… with the token of this device.")
    tokens: DeviceTokenService = current_app.extensions["kith"].tokens.device_tokens
    caller = tokens.authenticate(token)
    hold_connection(caller)
    return caller


def hold_connection(caller: Caller) -> None:
    """Count the connection of this request for the device that makes it; raises TooManyConnections.

    One device that opens hundreds would keep the worker from everybody else.
    """
    connection = request.environ.get("gunicorn.socket")
    if isinstance(connection, Connection) and not connection.hold_for(caller.device_id):
        raise TooManyConnections("Wait until some of them are answered.", retry_after=1)


def authenticate_service(scope: str) -> ServiceCaller:
    """Say which service makes this request.

    Raises a 401 problem when none does, and ScopeMissing when its token is not good for the scope.
    """
    token = bearer_token()
    if token is None:
        raise ServiceTokenMissing("Send Authorization: Bearer kithsvc_… with a service token.")
    services: ServiceTokenService = current_app.extensions["kith"].tokens.service_tokens
    caller = services.authenticate(token)
    if scope not in caller.scopes:
        raise ScopeMissing(f"It was not issued for the scope {scope}.")
    return caller


def authenticate_device_or_service(scope: str) -> Caller | ServiceCaller:
    """Say which device makes this request, or which service; its token's prefix tells which of them.

    Raises what either raises.
    """
    if (bearer_token() or "").startswith(SERVICE_PREFIX):
        return authenticate_service(scope)
    return authenticate_device()


def bearer_token() -> str | None:
    """Give the request's bearer token; None when it has none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None
