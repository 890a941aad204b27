"""Authentication of a request by its bearer token (RFC 6750, header only): a device's or a service's."""

from dataclasses import dataclass

from flask import request

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
        """Return the device that makes the request with this token, wherever the request carries it.

        Its connections are counted: one device with hundreds of them would block the worker for all others.
        """
        caller = self.device_tokens.authenticate(token)
        connection = request.environ.get("gunicorn.socket")
        if isinstance(connection, Connection) and not connection.hold_for(caller.device_id):
            raise TooManyConnections("Wait until some of them are answered.", retry_after=1)
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


def bearer_token() -> str | None:
    """Return the request's bearer token; None if it has none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None
