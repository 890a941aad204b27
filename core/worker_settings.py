"""Settings of several workers: their number, and the Valkey through which they notify each other."""

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

#: What an address may set beside host, port, user and password.
_OPTIONS = {"ssl_ca_certs"}


def _valkey_address(value: SecretStr | None) -> SecretStr | None:
    if value is None:
        return None
    parts = urlsplit(value.get_secret_value())
    try:
        usable = parts.scheme in ("valkey", "valkeys") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if (
        not usable
        or parts.path.strip("/")
        or parts.fragment
        or set(parse_qs(parts.query)) - _OPTIONS
    ):
        # Not the value itself: it may hold a password.
        raise ValueError(
            "it must be valkey://[user:password@]host:port, or valkeys:// with TLS, without a"
            " database number; the only option is ?ssl_ca_certs="
        )
    return value


class WorkerSettings(BaseSettings):
    """The settings section of several workers."""

    workers: int = Field(
        1,
        ge=1,
        description="Worker processes. More than one needs `KITH_VALKEY_URL` and PostgreSQL.",
    )
    valkey_url: Annotated[SecretStr | None, AfterValidator(_valkey_address)] = Field(
        None,
        description="Valkey through which workers notify each other:"
        " `valkey://user:password@host:6379`, or `valkeys://…` with TLS.",
    )
    valkey_namespace: str = Field(
        "kith",
        pattern="^[a-z0-9-]{1,32}$",
        description="Prefix of its channel names, so that deployments can share a Valkey.",
    )

    def faults_of_workers(self, *, sqlite: bool) -> list[str]:
        """Return the missing requirements of several workers."""
        if self.workers == 1:
            return []
        faults = []
        if self.valkey_url is None:
            faults.append(
                "KITH_WORKERS: more than one worker needs a Valkey through which they wake each"
                " other; set KITH_VALKEY_URL, or KITH_WORKERS=1"
            )
        if sqlite:
            faults.append(
                "KITH_WORKERS: more than one worker needs PostgreSQL, because writers of several"
                " processes hold each other up on SQLite; set KITH_DATABASE_URL, or KITH_WORKERS=1"
            )
        return faults
