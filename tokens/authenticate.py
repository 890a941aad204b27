"""Authentication of a request by its bearer token (RFC 6750, header only): a device's or a service's."""

from dataclasses import dataclass

from flask import current_app, request

from core.problems import TooManyConnections
from core.serving.connection import Connection
from tokens.device_tokens import DeviceTokenService
from tokens.devices import Caller
from tokens.problems import ScopeMissing, ServiceTokenMissing, TokenMissing
from tokens.service_tokens import SERVICE_PREFIX, ServiceCaller, ServiceTokenService

__all__ = ["Authenticator", "Caller", "ServiceCaller"]


@dataclass(frozen=True)
class Authenticator:
    """Identifies the caller of the current request."""

    device_tokens: DeviceTokenService
    service_tokens: ServiceTokenService

    def device(self) -> Caller:
        """Return the device that makes the request.

        Raises TokenMissing, what `DeviceTokenService.authenticate` raises, or TooManyConnections.
        """
        token = bearer_token()
        if token is None:
            raise TokenMissing("Send Authorization: Bearer kith_… with the token of this device.")
        return self.device_by(token)

    def device_by(self, token: str) -> Caller:
        """Return the device that makes the request with this token, wherever the request carries it."""
        caller = self.device_tokens.authenticate(token)
        hold_connection(caller)
        return caller

    def service(self, scope: str) -> ServiceCaller:
        """Return the service that makes the request.

        Raises ServiceTokenMissing, what `ServiceTokenService.authenticate` raises, or ScopeMissing.
        """
        token = bearer_token()
        if token is None:
            raise ServiceTokenMissing("Send Authorization: Bearer kithsvc_… with a service token.")
        caller = self.service_tokens.authenticate(token)
        if scope not in caller.scopes:
            raise ScopeMissing(f"It was not issued for the scope {scope}.")
        return caller

    def device_or_service(self, scope: str) -> Caller | ServiceCaller:
        """Return the device or service that makes the request, whichever the token's prefix names."""
        if (bearer_token() or "").startswith(SERVICE_PREFIX):
            return self.service(scope)
        return self.device()


def hold_connection(caller: Caller) -> None:
    """Count the request's connection for a device; raises TooManyConnections.

    One device with hundreds of connections would block the worker for all others.
    """
    connection = request.environ.get("gunicorn.socket")
    if isinstance(connection, Connection) and not connection.hold_for(caller.device_id):
        raise TooManyConnections("Wait until some of them are answered.", retry_after=1)


def bearer_token() -> str | None:
    """Return the request's bearer token; None if it has none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def _authenticator() -> Authenticator:
    authenticator: Authenticator = current_app.extensions["kith"].tokens.authenticator
    return authenticator


def authenticate_device() -> Caller:
    """Return the device that makes the request."""
    return _authenticator().device()


def authenticate_service(scope: str) -> ServiceCaller:
    """Return the service that makes the request."""
    return _authenticator().service(scope)


def authenticate_device_or_service(scope: str) -> Caller | ServiceCaller:
    """Return the device or service that makes the request."""
    return _authenticator().device_or_service(scope)
