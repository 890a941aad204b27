"""Own the shapes of the API's answers as frozen dataclasses, and the checked reading of JSON into
them.

Refuse answers that lack a member or hold another type; ignore members that a newer server adds.
Secrets (tokens, link codes, message contents) do not show in a repr.
"""

import base64
import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, cast

from kith.errors import KithAnswerUnreadable

Channel = Literal["sms", "voice"]
ContactState = Literal["accepted", "blocked"]


@dataclass(frozen=True)
class Verification:
    """A run at proving a number; waits are whole seconds, None meaning not any more in this
    verification.

    status: "pending", "verified", "expired", "failed" or "canceled". code_length: 6 or 8 digits.
    """

    id: str
    phone_number: str
    status: str
    channel: str
    code_length: int
    expires_at: datetime
    checks_left: int
    next_sms_in: int | None
    next_voice_in: int | None


@dataclass(frozen=True)
class Registration:
    """A new device of the account that belongs to a verified number; keep `device_token` secret."""

    account_id: str
    phone_number: str
    device_id: str
    device_token: str = field(repr=False)
    reregistered: bool = False


@dataclass(frozen=True)
class Account:
    """The account that the device token belongs to; `device_id` is the asking device.

    registration_lock_state: "active", or "lapsed" while no device was used for 7 days; None without
    a PIN. registration_lock_ends_at: when it is removed, as was asked for without the PIN.
    """

    account_id: str
    phone_number: str
    device_id: str
    discoverable: bool
    registration_lock: bool
    created_at: datetime
    registration_lock_state: str | None = None
    registration_lock_ends_at: datetime | None = None


@dataclass(frozen=True)
class MailboxFill:
    """What waits for a device, and how much may."""

    messages: int
    bytes: int
    max_messages: int
    max_bytes: int


@dataclass(frozen=True)
class Missed:
    """Messages to this device were not stored since a time; acknowledging `through` ends this."""

    since: datetime
    through: int


@dataclass(frozen=True)
class Device:
    """One device of the own account; `current` marks the asking one.

    token_revoked_at: since when it is signed out, with its mailbox kept for 30 days.
    """

    id: str
    name: str | None
    platform: str | None
    created_at: datetime
    last_seen_at: datetime | None
    current: bool
    token_revoked_at: datetime | None = None
    mailbox: MailboxFill | None = None


@dataclass(frozen=True)
class DeviceLink:
    """A code that makes one other device part of the account, once and until `expires_at`."""

    link_code: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class LinkedDevice:
    """A device that joined an account by a link code; keep `device_token` secret."""

    account_id: str
    device_id: str
    device_token: str = field(repr=False)


@dataclass(frozen=True)
class Budget:
    """How many hashes may still be looked up for the first time, of how many, and what comes back
    in a day.
    """

    left: int
    capacity: int
    refill_per_day: int


@dataclass(frozen=True)
class DiscoveryParameters:
    """How to hash numbers until `expires_at`, how many hashes one lookup takes, and the budget,
    None where the server has none.

    asker: who pays, and whom sync tokens are bound to; None where the server is older.
    """

    epoch: str
    algorithm: str
    salt: str
    max_hashes: int
    expires_at: datetime | None
    budget: Budget | None = None
    asker: str | None = None


@dataclass(frozen=True)
class Lookup:
    """What a lookup found: the account id of each hash that has one.

    sync_token: proves that all hashes of the request are paid for, None where the server has no
    budget.
    """

    matches: dict[str, str]
    sync_token: str | None = None
    budget: Budget | None = None


@dataclass(frozen=True)
class Envelope:
    """Ciphertext for one device of the recipient, and for which of its keys, where that is known."""

    device_id: str
    content: bytes = field(repr=False)
    registration_id: int | None = None


@dataclass(frozen=True)
class GroupVersion:
    """A group, as of one version of its membership."""

    id: str
    version: int


@dataclass(frozen=True)
class AcceptedMessage:
    """A message that the server has stored for every device named in it."""

    id: str
    accepted_at: datetime


@dataclass(frozen=True)
class Message:
    """One ciphertext from this device's mailbox; `seq` is what an acknowledgement names.

    request: the account is not in touch with the sender yet. group: what it was sent to, if not to
    the account.
    """

    seq: int
    id: str
    from_account_id: str
    from_device_id: str
    content: bytes = field(repr=False)
    sent_at: datetime
    request: bool | None = None
    group: GroupVersion | None = None


@dataclass(frozen=True)
class MessagePage:
    """Messages in order; `more` says that others wait behind them."""

    messages: tuple[Message, ...]
    more: bool
    missed: Missed | None = None


@dataclass(frozen=True)
class PeerContact:
    """Another account and how the own one stands to it: "accepted" or "blocked"."""

    account_id: str
    state: str
    since: datetime


@dataclass(frozen=True)
class ContactPage:
    """Contacts by ascending id; `more` says that others follow."""

    contacts: tuple[PeerContact, ...]
    more: bool


@dataclass(frozen=True)
class GroupMember:
    """An account in a group: role "admin" or "member", state "joined" or "invited"."""

    account_id: str
    role: str
    state: str


@dataclass(frozen=True)
class Group:
    """A group and who is in it, as of a version."""

    id: str
    name: str
    version: int
    members: tuple[GroupMember, ...]


@dataclass(frozen=True)
class GroupSummary:
    """A group without its members, and the own role and state in it."""

    id: str
    name: str
    version: int
    role: str
    state: str


@dataclass(frozen=True)
class GroupPage:
    """Groups by ascending id; `more` says that others follow after the last."""

    groups: tuple[GroupSummary, ...]
    more: bool


@dataclass(frozen=True)
class PushParameters:
    """The types of push subscription that the server takes; vapid_public_key: what a browser
    subscribes with.
    """

    types: tuple[str, ...]
    vapid_public_key: str | None


@dataclass(frozen=True)
class PushSubscription:
    """How this device is woken: "webpush", "apns" or "fcm"."""

    type: str


@dataclass(frozen=True)
class GroupDevice:
    """A device of a member to encrypt for; `registration_id` is None while it has no keys."""

    account_id: str
    device_id: str
    registration_id: int | None


@dataclass(frozen=True)
class GroupDevices:
    """All devices of a group but the asking one, and the digest over them, as of a version."""

    version: int
    devices: tuple[GroupDevice, ...]
    digest: bytes


@dataclass(frozen=True)
class OutboxText:
    """A text or call that the mock provider would have sent (development servers only)."""

    to: str
    body: str = field(repr=False)
    channel: str
    sent_at: datetime


Model = TypeVar("Model")


def read(model: type[Model], document: object) -> Model:
    """Return `document`, a decoded JSON value, as `model`.

    Raise KithAnswerUnreadable, naming the member but never its value, when something is missing or
    of another type.
    """
    return cast(Model, _convert(model, document, model.__name__))


@cache
def _hints(model: type) -> dict[str, Any]:
    return typing.get_type_hints(model)


def _convert(kind: Any, value: object, place: str) -> object:
    origin = typing.get_origin(kind)
    if origin is types.UnionType:
        return None if value is None else _convert(typing.get_args(kind)[0], value, place)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(typing.get_args(kind)[0], item, place) for item in value)
    if origin is dict and isinstance(value, dict):
        inner = typing.get_args(kind)[1]
        return {name: _convert(inner, item, place) for name, item in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        hints = _hints(cast(type, kind))
        return cast(Any, kind)(
            **{
                name: _convert(hint, value.get(name), f"{place}.{name}")
                for name, hint in hints.items()
            }
        )
    if kind is datetime and isinstance(value, str):
        return _time(value, place)
    if kind is bytes and isinstance(value, str):
        return _binary(value, place)
    if type(value) is kind:
        return value
    raise _unreadable(place)


def _time(text: str, place: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _unreadable(place) from None
    if moment.tzinfo is None:
        raise _unreadable(place)
    return moment


def _binary(text: str, place: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise _unreadable(place) from None


def base64url(content: bytes) -> str:
    """Return `content` as the API writes binary: base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _unreadable(place: str) -> KithAnswerUnreadable:
    return KithAnswerUnreadable(
        f"The answer is not what the Kith API promises, at {place}. Is this a Kith server?"
    )
