"""Types of settings that several parts use: comma-separated lists, addresses, certificates."""

import base64
import ipaddress
import ssl
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, FilePath, SecretStr

WEBHOOK_SECRET_PREFIX = "whsec_"


def split(value: object) -> object:
    """Return the tuple that `a, b` from the environment means; other values as they are."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values. Raises ValueError if one is listed twice."""
    if len(set(values)) < len(values):
        raise ValueError("lists a value twice")
    return values


def _network(value: str) -> str:
    ipaddress.ip_network(value)
    return value


def _http_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{value!r} is not an http(s) address such as https://id.example.com")
    return value


def _without_slash(value: str) -> str:
    return value.rstrip("/")


def _certificates(value: Path) -> Path:
    try:
        ssl.create_default_context(cafile=str(value))
    except ssl.SSLError:
        raise ValueError(f"{value} holds no certificates in PEM") from None
    return value


HttpAddress = Annotated[str, AfterValidator(_http_address)]
#: A base address, without a slash at its end; paths are appended.
HttpUrl = Annotated[HttpAddress, AfterValidator(_without_slash)]
#: A readable file of PEM certificates.
CertificateFile = Annotated[FilePath, AfterValidator(_certificates)]
#: A network in CIDR notation, or one address.
Network = Annotated[str, AfterValidator(_network)]


def keeps_secrets(address: str) -> bool:
    """Return whether an address is safe for secrets: https, or this host."""
    parts = urlsplit(address)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _webhook_secret(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    try:
        size = len(base64.b64decode(secret.removeprefix(WEBHOOK_SECRET_PREFIX), validate=True))
    except ValueError:
        size = 0
    if not secret.startswith(WEBHOOK_SECRET_PREFIX) or not 24 <= size <= 64:
        raise ValueError(f"must be {WEBHOOK_SECRET_PREFIX} and the base64 of 24 to 64 bytes")
    return value


WebhookSecret = Annotated[SecretStr, AfterValidator(_webhook_secret)]
