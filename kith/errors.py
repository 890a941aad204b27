"""Exceptions of the client library. Tokens, codes and whole phone numbers never enter a message or a
repr, even when a server or a proxy puts them into its answer.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

MAX_TEXT = 500

_SECRETS = re.compile(
    r"kith[a-z]*_[A-Za-z0-9_-]+"  # a token or a link code
    r"|\+\d[\d ()./-]{5,}\d"  # a phone number with spaces or dashes
    r"|\d{6,}"  # a code, or a phone number without a plus
)

Count = Annotated[int, msgspec.Meta(ge=0)]


def redact(text: str) -> str:
    """Return `text` with tokens, codes and phone numbers masked, at most 500 characters long."""
    return _SECRETS.sub("•••", text[:MAX_TEXT])


class FieldError(msgspec.Struct, frozen=True):
    """An invalid field of a request: a JSON pointer and the reason."""

    pointer: str = ""
    detail: str = ""


class KithError(Exception):
    """Base class of every exception that a call raises."""


class KithUnreachable(KithError):
    """There was no answer: the connection failed or timed out.

    The server may still have processed the request. Calls that are safe to repeat were retried.
    """


class KithCertificateRefused(KithUnreachable):
    """The server's certificate is expired, for another name or from an untrusted authority."""


class KithAuthoritiesUnreadable(KithError):
    """The certificate authorities that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read."""


class KithAnswerUnreadable(KithError):
    """A successful answer does not follow the Kith API; often it is another server's."""


class ChallengeRefused(KithError):
    """The server's challenge is malformed, of an unsupported kind, or needs too much work."""


class MessagesNotInstalled(ImportError):
    """Encrypted messages need the packages of the extra `kith[messages]`."""

    def __init__(self) -> None:
        """Set the message, which says how to install them."""
        super().__init__("Messages need more packages: pip install 'kith[messages]'")


@dataclass(kw_only=True, eq=False, repr=False)
class KithProblem(KithError):
    """A problem that the server reports (RFC 9457). `kith.problems` has classes for codes that
    programs handle; every other code arrives as this class.

    code: the last segment of the problem's `type`, or "http-<status>" without a problem document.
    retry_after: seconds. checks_left: guesses left in this verification. missing, extra, stale:
    device ids, for devices-mismatched. left, capacity, needed: hashes, for budget-exhausted and
    budget-too-small. challenge: for challenge-required. decision: the id under which the server's
    operator finds why a text was not sent. version: of the group, for group-changed. unknown:
    account ids, for accounts-unknown.
    """

    code: str
    title: str
    status: int
    detail: str = ""
    request_id: str | None = None
    retry_after: Count | None = None
    errors: tuple[FieldError, ...] = ()
    checks_left: Count | None = None
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    left: Count | None = None
    capacity: Count | None = None
    needed: Count | None = None
    challenge: dict[str, Any] | None = None
    decision: str | None = None
    version: Count | None = None
    unknown: tuple[str, ...] = ()

    def __init_subclass__(cls, *, code: str) -> None:
        """Set the problem code that a subclass stands for."""
        cls.code = code

    def __post_init__(self) -> None:
        """Redact every text once, for all uses."""
        self.code, self.title, self.detail = map(redact, (self.code, self.title, self.detail))
        self.errors = tuple(FieldError(one.pointer, redact(one.detail)) for one in self.errors)
        super().__init__(": ".join(filter(None, (self.title, self.detail))) + f" ({self.code})")
