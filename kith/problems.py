"""Problem codes that programs handle, one exception class each, and the reading of a problem.

A code without a class here arrives as a plain `KithProblem`, which carries the same members.
"""

import contextlib
import email.utils
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from kith.errors import KithProblem

MAX_ID = 128


class InvalidFields(KithProblem, code="invalid-fields"):
    """Fields are missing, unknown or out of range; `errors` names them."""


class NotFound(KithProblem, code="not-found"):
    """The server does not serve this path."""


class IdempotencyInProgress(KithProblem, code="idempotency-in-progress"):
    """The first request with this Idempotency-Key is still being processed."""


class ServiceUnavailable(KithProblem, code="service-unavailable"):
    """The server cannot answer now."""


class VerificationNotFound(KithProblem, code="verification-not-found"):
    """The verification does not exist."""


class VerificationClosed(KithProblem, code="verification-closed"):
    """The verification is already verified, canceled or failed."""


class CodeRejected(KithProblem, code="code-rejected"):
    """The code is wrong; `checks_left` guesses remain."""


class CodeUnreadable(KithProblem, code="code-unreadable"):
    """The text cannot be a code; it does not count as a guess."""


class ChecksExhausted(KithProblem, code="checks-exhausted"):
    """The verification has no guesses left; start another."""


class SendTooSoon(KithProblem, code="send-too-soon"):
    """The next text or call may go out in `retry_after` seconds."""


class TooManySends(KithProblem, code="too-many-sends"):
    """The phone number or the requester has reached its limit of texts."""


class NoSendsLeft(KithProblem, code="no-sends-left"):
    """The verification may send no more; start another later."""


class SendsPaused(KithProblem, code="sends-paused"):
    """The server's policy stops texts like this one for now."""


class DestinationRefused(KithProblem, code="destination-refused"):
    """The server does not send to this country."""


class ChallengeRequired(KithProblem, code="challenge-required"):
    """A proof of work is required first; `kith.solve_challenge` solves `challenge`."""


class ChallengeRejected(KithProblem, code="challenge-rejected"):
    """The solution is wrong, expired or already used; send the request again without it."""


class DeviceNotRecoverable(KithProblem, code="device-not-recoverable"):
    """The device is gone or its signature is wrong; the verification can still be used."""


class RegistrationLocked(KithProblem, code="registration-locked"):
    """The account has a registration lock, and the PIN is missing or wrong."""


class TokenMissing(KithProblem, code="token-missing"):
    """The call needs a device token."""


class TokenInvalid(KithProblem, code="token-invalid"):
    """The device token is unknown or revoked."""


class TokenExpired(KithProblem, code="token-expired"):
    """The device was not used for too long."""


class TokenReused(KithProblem, code="token-reused"):
    """An old token was used after its successor; the device is revoked because one was stolen."""


class ServiceTokenInvalid(KithProblem, code="service-token-invalid"):
    """The service token is unknown or revoked."""


class ServiceTokenExpired(KithProblem, code="service-token-expired"):
    """The service token has expired."""


class ScopeMissing(KithProblem, code="scope-missing"):
    """The service token lacks the scope of this call."""


class AccountNotFound(KithProblem, code="account-not-found"):
    """The account does not exist."""


class DeviceNotFound(KithProblem, code="device-not-found"):
    """The device does not exist."""


class EpochUnknown(KithProblem, code="epoch-unknown"):
    """The epoch of the hashes is over; fetch the discovery parameters again."""


class BudgetExhausted(KithProblem, code="budget-exhausted"):
    """The lookup has more new hashes than the budget has left; nothing was looked up or charged."""


class BudgetTooSmall(KithProblem, code="budget-too-small"):
    """The lookup has more new hashes than the budget's capacity; look up fewer at once."""


class DevicesMismatched(KithProblem, code="devices-mismatched"):
    """The envelopes do not match the recipient's devices: `missing`, `extra`, `stale`; nothing was
    stored.
    """


class ClientIdReused(KithProblem, code="client-id-reused"):
    """The client_id was used for another message."""


class MailboxFull(KithProblem, code="mailbox-full"):
    """The recipient's mailbox is full."""


class RecipientBlocked(KithProblem, code="recipient-blocked"):
    """The account has blocked the recipient; accept or forget it first."""


class MessageRateLimited(KithProblem, code="message-rate-limited"):
    """The account may send again in `retry_after` seconds."""


class PushSubscriptionNotFound(KithProblem, code="push-subscription-not-found"):
    """The device has no push subscription."""


class KeysDiffer(KithProblem, code="keys-differ"):
    """The digest does not match the keys that the server hands out."""


class TooManyKeyFetches(KithProblem, code="too-many-key-fetches"):
    """The account has fetched too many key bundles, of this recipient or in all."""


class GroupNotFound(KithProblem, code="group-not-found"):
    """The group does not exist, or the account is not in it."""


class GroupChanged(KithProblem, code="group-changed"):
    """The group has another version, `version`; nothing was changed."""


class AccountsUnknown(KithProblem, code="accounts-unknown"):
    """Some accounts, `unknown`, do not exist; nothing was changed."""


class GroupRateLimited(KithProblem, code="group-rate-limited"):
    """The account creates groups, changes them or invites strangers too often."""


CLASSES: Mapping[str, type[KithProblem]] = {
    vars(one)["code"]: one for one in KithProblem.__subclasses__()
}
_MEMBERS = typing.get_type_hints(KithProblem, include_extras=True)


def read_problem(response: httpx.Response) -> KithProblem:
    """Return the problem that an answer outside 2xx reports, whatever its body is.

    A member of another type than documented is left out, so that a proxy's page or a newer server
    never hides the problem.
    """
    document = _document(response)
    members = {
        name: value
        for name, hint in _MEMBERS.items()
        if (value := _convert(document.get(name), hint)) is not None
    }
    kind = document.get("type")
    code = kind.rsplit("/", 1)[-1] if isinstance(kind, str) and kind != "about:blank" else ""
    code = code or f"http-{response.status_code}"
    request_id = _convert(document.get("instance"), str) or response.headers.get("X-Request-Id")
    return CLASSES.get(code, KithProblem)(
        **members
        | {
            "code": code,
            "title": members.get("title") or response.reason_phrase or "Unexpected answer",
            "status": response.status_code,
            "request_id": (request_id or "")[:MAX_ID] or None,
            "decision": members.get("decision", "")[:MAX_ID] or None,
            "retry_after": _retry_after(response, members.get("retry_after")),
        }
    )


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return {}


def _convert(value: object, hint: Any) -> Any:
    """Return a member, or None for one of another type; an array keeps its valid items."""
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        item = typing.get_args(hint)[0]
        return tuple(one for one in (_convert(one, item) for one in value) if one is not None)
    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.convert(value, hint)
    return None


def _retry_after(response: httpx.Response, member: int | None) -> int | None:
    """Return how many seconds to wait: the Retry-After header (seconds or HTTP-date), else the
    problem's member.

    A date is compared to the answer's own Date header where there is one, so that a wrong local
    clock does not matter.
    """
    header = response.headers.get("Retry-After", "").strip()
    if header.isascii() and header.isdigit() and len(header) < 10:
        return int(header)
    moment = _http_date(header)
    if moment is None:
        return member
    now = _http_date(response.headers.get("Date", "")) or datetime.now(UTC)
    return max(0, round((moment - now).total_seconds()))


def _http_date(text: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
