"""Own how every failure of a call looks to a Python program: KithError and its kinds.

Refuse to repeat secrets: device tokens, codes and whole phone numbers never enter a message or a
repr, even when a server or a proxy in between puts them into its answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST_TEXT = 500

_SECRETS = re.compile(
    r"kith[a-z]*_[A-Za-z0-9_-]+"  # a credential: a device's, a link's, a service's, a Matrix user's
    r"|\+\d[\d ()./-]{5,}\d"  # a number written with spaces or dashes
    r"|\d{6,}"  # a code, or a number without a plus
)


def redact(text: str) -> str:
    """Return `text` with tokens, codes and whole numbers masked, at most 500 characters long."""
    return _SECRETS.sub("•••", text[:LONGEST_TEXT])


@dataclass(frozen=True)
class FieldFault:
    """Name a refused field of a request: `pointer` is a JSON pointer, `detail` the reason."""

    pointer: str
    detail: str


class KithError(Exception):
    """Stand for everything a call can fail with; catch this to catch all."""


class KithUnreachable(KithError):
    """Report that no answer came: refused connection, broken connection, time-out.

    The server may still have done what was asked. Calls that are safe to repeat were already
    repeated.
    """


class KithCertificateRefused(KithUnreachable):
    """Report a server whose certificate is not accepted: another name's, expired, or not of an
    authority that this machine trusts. Nothing was asked of it.
    """


class KithAuthoritiesUnreadable(KithError):
    """Report certificate authorities that SSL_CERT_FILE or SSL_CERT_DIR names and that cannot be
    read.
    """


class KithAnswerUnreadable(KithError):
    """Report an answer with a success status that is not what the Kith API promises, often another
    server's.
    """


class ChallengeRefused(KithError):
    """Report a challenge of the server's that this client does not solve: one that cannot be read,
    is of another kind or asks for too much work.
    """


class KithProblem(KithError):
    """Report a refusal by the server (RFC 9457); a code that this version does not know arrives as
    this class.

    code: last segment of the problem's `type`, or "http-<status>" when the answer was no problem
    document. retry_after: whole seconds after which trying again makes sense, or None. errors: the
    refused fields. checks_left: guesses left in this verification, or None. missing, extra, stale:
    device ids, filled for devices-mismatched only. left, capacity, needed: hashes, filled for
    budget-exhausted and budget-too-small. challenge: what is to be solved, for challenge-required
    only. decision: the name under which the server's operator finds why a text was not sent, or None.
    version: of the group, for group-changed only. unknown: account ids, for accounts-unknown only.
    """

    code: str = ""

    def __init__(
        self,
        *,
        code: str,
        title: str,
        status: int,
        detail: str = "",
        request_id: str | None = None,
        retry_after: int | None = None,
        errors: Sequence[FieldFault] = (),
        checks_left: int | None = None,
        missing: Sequence[str] = (),
        extra: Sequence[str] = (),
        stale: Sequence[str] = (),
        left: int | None = None,
        capacity: int | None = None,
        needed: int | None = None,
        challenge: Mapping[str, Any] | None = None,
        decision: str | None = None,
        version: int | None = None,
        unknown: Sequence[str] = (),
    ) -> None:
        """Take the members of a problem document; texts are redacted here, once for all uses."""
        self.code = redact(code)
        self.title = redact(title)
        self.status = status
        self.detail = redact(detail)
        self.request_id = request_id
        self.retry_after = retry_after
        self.errors = tuple(FieldFault(fault.pointer, redact(fault.detail)) for fault in errors)
        self.checks_left = checks_left
        self.missing = tuple(missing)
        self.extra = tuple(extra)
        self.stale = tuple(stale)
        self.left = left
        self.capacity = capacity
        self.needed = needed
        self.challenge = challenge
        self.decision = decision
        self.version = version
        self.unknown = tuple(unknown)
        super().__init__(
            ": ".join(text for text in (self.title, self.detail) if text) + f" ({self.code})"
        )
