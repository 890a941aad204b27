"""Requests to homeservers: whose OpenID token is this, and which keys do you sign with.

Strangers name the homeserver, so a request goes over HTTPS only, to an address that is checked after it was
resolved and is the very one connected to, under a certificate for the name; with bounds on bytes and time,
without redirects, and never to an internal address unless the settings allow its network. Callers do not
learn why a homeserver could not be asked.
"""

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog

from core.host_resolver import Address, AddressNotAllowed, HostNotFound, HostResolver
from interop.matrix.identifiers import ServerName, is_user_id
from interop.matrix.metrics import MatrixMetrics
from interop.matrix.problems import HomeserverUnavailable, OpenIdRefused
from interop.matrix.server_keys import ServerKeys

log = structlog.get_logger()

HTTPS_PORT, FEDERATION_PORT = 443, 8448
WELL_KNOWN = "/.well-known/matrix/server"
USERINFO = "/_matrix/federation/v1/openid/userinfo?access_token="
KEYS = "/_matrix/key/v2/server"
#: To connect and between bytes, and for a whole request with its connection.
STEP_SECONDS, REQUEST_SECONDS = 3.0, 8.0
MAX_ANSWER_BYTES = 65_536


class HomeserverRequestError(Exception):
    """A homeserver could not be asked; the reason is one of a few words, for metrics and logs."""


@dataclass(frozen=True)
class Homeservers:
    """Asks homeservers."""

    addresses: HostResolver
    ca_file: Path | None
    clock: Callable[[], datetime]
    metrics: MatrixMetrics

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # Reading the system's certificates takes 20 ms, and many services ask no homeserver.
        return ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)

    def user_of(self, server_name: str, access_token: str) -> str:
        """Verify an OpenID token with the named homeserver; return its user's id.

        Raises OpenIdRefused if the homeserver does not know the token or names a user of another server, and
        HomeserverUnavailable if it cannot be asked.
        """
        path = USERINFO + quote(access_token, safe="")
        try:
            status, body = self._request(server_name, path)
            user_id = _member(body, "sub") if status == 200 else None
            if status not in (401, 403) and (user_id is None or not is_user_id(user_id)):
                raise HomeserverRequestError("answer")
        except HomeserverRequestError as error:
            raise self._unavailable(str(error)) from None
        if user_id is None or user_id.partition(":")[2] != server_name:
            self.metrics.homeserver_requests.labels("refused").inc()
            raise OpenIdRefused("Get another OpenID token from your homeserver.")
        self.metrics.homeserver_requests.labels("vouched").inc()
        return user_id

    def keys_of(self, server_name: str) -> ServerKeys:
        """Return the keys that a homeserver signs with now, as it publishes them.

        Raises HomeserverUnavailable if it cannot be asked or publishes no valid keys.
        """
        try:
            status, body = self._request(server_name, KEYS)
            keys = ServerKeys.read(body, server_name, self.clock()) if status == 200 else None
            if keys is None:
                raise HomeserverRequestError("answer")
        except HomeserverRequestError as error:
            raise self._unavailable(str(error)) from None
        self.metrics.homeserver_requests.labels("keys").inc()
        return keys

    def _unavailable(self, reason: str) -> HomeserverUnavailable:
        self.metrics.homeserver_requests.labels(reason).inc()
        log.warning("matrix.homeserver_unavailable", reason=reason)
        return HomeserverUnavailable(
            "Its name must lead to a public address that answers over HTTPS with a valid"
            " certificate.",
            retry_after=60,
        )

    def _request(self, server_name: str, path: str) -> tuple[int, bytes]:
        name = ServerName.parse(server_name)
        if name is None:
            raise HomeserverRequestError("name")
        return self._get(self._delegated(name), path)

    def _delegated(self, name: ServerName) -> ServerName:
        """Return where a server name is served (Matrix server-server API, "Resolving server names").

        SRV records are not looked up.
        """
        if not name.is_address and name.port is None:
            try:
                status, body = self._get(ServerName(name.host, HTTPS_PORT), WELL_KNOWN)
            except HomeserverRequestError as error:
                if str(error) == "address":
                    raise
                status, body = 0, b""
            delegated = ServerName.parse(_member(body, "m.server") or "") if status == 200 else None
            name = delegated or name
        return name._replace(port=name.port or FEDERATION_PORT)

    def _get(self, name: ServerName, path: str) -> tuple[int, bytes]:
        address = self._address(name)
        # The authority leaves out the default port.
        authority = (name._replace(port=None) if name.port == HTTPS_PORT else name).text
        try:
            with (
                socket.create_connection((str(address), name.port), STEP_SECONDS) as plain,
                self._tls.wrap_socket(
                    plain, server_hostname=name.host, do_handshake_on_connect=False
                ) as secure,
            ):
                # Each step has its time-out, but a slow answer can take many steps: this ends them all.
                end = threading.Timer(REQUEST_SECONDS, _shut_down, (secure,))
                end.daemon = True
                end.start()
                try:
                    secure.do_handshake()
                    return _exchange(secure, authority, path)
                finally:
                    end.cancel()
        except ssl.SSLCertVerificationError:
            raise HomeserverRequestError("certificate") from None
        except (OSError, HTTPException, ValueError):
            raise HomeserverRequestError("connection") from None

    def _address(self, name: ServerName) -> Address:
        """Return an address of a host that may be connected to; the name is resolved only here."""
        try:
            return self.addresses.resolve(name.host)
        except HostNotFound:
            raise HomeserverRequestError("name") from None
        except AddressNotAllowed:
            raise HomeserverRequestError("address") from None


def _exchange(secure: ssl.SSLSocket, authority: str, path: str) -> tuple[int, bytes]:
    """Make one request; return its status and body, which is cut off at its bound."""
    connection = HTTPConnection(authority)
    connection.sock = secure
    headers = {"Host": authority, "Accept": "application/json", "Connection": "close"}
    connection.request("GET", path, headers=headers)
    with connection.getresponse() as answer:
        return answer.status, answer.read(MAX_ANSWER_BYTES)


def _shut_down(secure: ssl.SSLSocket) -> None:
    # The connection may end at the same moment.
    with suppress(OSError):
        secure.shutdown(socket.SHUT_RDWR)


def _member(body: bytes, name: str) -> str | None:
    """Return a string member of a JSON object; None for anything else."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) else None
