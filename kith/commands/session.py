"""The start of every command: the server, the credentials and a client for them.

A device token is sent only to the server that issued it, and never unencrypted to another machine.
"""

import ipaddress
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx

from kith.api.verification import solve_challenge
from kith.client import Kith
from kith.commands.errors import LOCAL_FILE, REFUSED, Failure
from kith.commands.output import note, spinner
from kith.storage import Credentials, CredentialsFile, CredentialsMissing, default_directory
from kith.transport import VISIBLE_ASCII

DEFAULT_SERVER = "http://127.0.0.1:8000"

_PROFILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,99}")


@dataclass(frozen=True)
class Dependencies:
    """What tests replace: the transport of the client, and the sleep function."""

    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Session:
    """One run of the command."""

    dependencies: Dependencies
    file: CredentialsFile
    wanted_server: str | None
    token_file: Path | None = None
    insecure: bool = False

    @classmethod
    def from_options(
        cls,
        dependencies: Dependencies,
        *,
        server: str | None,
        profile: str | None,
        credentials: str | None,
        token_file: str | None,
        insecure: bool = False,
    ) -> "Session":
        """Return the session for the global options; raise click.BadParameter."""
        if profile is not None:
            if not _PROFILE.fullmatch(profile):
                raise click.BadParameter(
                    "use letters, digits, '-', '_', '.'", param_hint="--profile"
                )
            path = default_directory() / f"{profile}.json"
        elif credentials:
            path = Path(credentials)
        else:
            path = default_directory() / "credentials.json"
        return cls(
            dependencies,
            CredentialsFile(path),
            server.rstrip("/") if server else None,
            Path(token_file) if token_file else None,
            insecure,
        )

    def anonymous(self) -> Kith:
        """Return a client without a token."""
        return self._client(self.server, None)

    @property
    def has_token(self) -> bool:
        """Whether --token-file or KITH_TOKEN is given."""
        return self._given_token() is not None

    def token_client(self) -> tuple[Kith, str] | None:
        """Return a client with the token of --token-file or KITH_TOKEN, and its server; None
        without one.

        Raise click.UsageError without a server, as a token does not name the server it is for.
        """
        token = self._given_token()
        if token is None:
            return None
        if self.wanted_server is None:
            raise click.UsageError("Say whose token it is, with --server or KITH_SERVER.")
        if not VISIBLE_ASCII.fullmatch(token):
            raise Failure(
                "What was given by --token-file or KITH_TOKEN is no token.", exit_code=REFUSED
            )
        return self._client(self.wanted_server, token), self.wanted_server

    def signed_in(self) -> tuple[Kith, Credentials]:
        """Return a client with this profile's token; raise Failure for another server."""
        if self._given_token() is not None:
            raise Failure(
                "A token alone is enough for sync only.",
                hint="Leave --token-file, KITH_TOKEN_FILE and KITH_TOKEN out.",
                exit_code=REFUSED,
            )
        credentials = self.file.load()
        if self.wanted_server is not None and not _is_same_server(
            self.wanted_server, credentials.server
        ):
            raise Failure(
                f"These credentials belong to {credentials.server}, not to {self.wanted_server}.",
                hint="Leave --server (KITH_SERVER) out, or use another --profile.",
                exit_code=REFUSED,
            )
        if self.file.is_exposed():
            note(f"Others on this machine can read {self.file.path}; run: chmod 600 on it")
        return self._client(credentials.server, credentials.device_token), credentials

    def stored_credentials(self) -> Credentials | None:
        """Return this profile's credentials, if there are any."""
        try:
            return self.file.load()
        except CredentialsMissing:
            return None

    def credentials_of_server(self) -> Credentials | None:
        """Return this profile's credentials, if they are of the current server."""
        stored_credentials = self.stored_credentials()
        return (
            stored_credentials
            if stored_credentials and _is_same_server(self.server, stored_credentials.server)
            else None
        )

    @property
    def server(self) -> str:
        """The server of a new registration."""
        stored_credentials = None if self.wanted_server else self.stored_credentials()
        return self.wanted_server or (
            stored_credentials.server if stored_credentials else DEFAULT_SERVER
        )

    def _given_token(self) -> str | None:
        if self.token_file is None:
            return os.environ.get("KITH_TOKEN") or None
        try:
            return self.token_file.read_text(encoding="ascii", errors="replace").strip()
        except OSError as error:
            raise Failure(
                f"{self.token_file} cannot be read: {error.strerror}.", exit_code=LOCAL_FILE
            ) from None

    def _client(self, server: str, token: str | None) -> Kith:
        try:
            if not self.insecure and _is_exposed(server):
                raise Failure(
                    f"{server} is another machine, and over http:// anybody on the way reads your token.",
                    hint="Use its https:// address; --insecure (KITH_INSECURE=true) if you must.",
                    exit_code=REFUSED,
                )
            return Kith(
                server,
                token,
                transport=self.dependencies.transport,
                sleep=self.dependencies.sleep,
                solve_challenge=_solve_with_spinner,
            )
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--server") from None


def _solve_with_spinner(challenge: Mapping[str, Any]) -> str:
    with spinner("Proving that you are no robot…"):
        return solve_challenge(challenge)


def _is_exposed(server: str) -> bool:
    """Return whether requests to a server can be read on the way."""
    try:
        url = httpx.URL(server)
    except (httpx.InvalidURL, UnicodeError):
        return False  # the client reports it
    host = url.host.removesuffix(".")
    if url.scheme != "http" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def _is_same_server(one: str, other: str) -> bool:
    try:
        return httpx.URL(one.rstrip("/")) == httpx.URL(other.rstrip("/"))
    except (httpx.InvalidURL, UnicodeError):
        return False
