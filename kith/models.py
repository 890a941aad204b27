"""Answers of the API as immutable structs, read by msgspec: unknown members are ignored, a missing or
mistyped one raises KithAnswerUnreadable.
"""

import base64
from abc import ABCMeta
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import msgspec

from kith.errors import KithAnswerUnreadable

Channel = Literal["sms", "voice"]
ContactState = Literal["accepted", "blocked"]
Role = Literal["admin", "member"]
Time = Annotated[datetime, msgspec.Meta(tz=True)]

if TYPE_CHECKING:
    Binary = bytes
else:
    # Bytes that the API writes as unpadded base64url: msgspec decodes `bytes` from padded base64.
    Binary = ABCMeta("Binary", (), {"__module__": __name__})
    Binary.register(bytes)


class Answer(msgspec.Struct, frozen=True):
    """An answer; its repr leaves out the members that `secret` names."""

    secret: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        """Return the members without secrets."""
        members = (name for name in self.__struct_fields__ if name not in self.secret)
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in members)})"


class Verification(Answer, frozen=True):
    """A verification of a phone number.

    status: "pending", "verified", "expired", "failed" or "canceled". code_length: 6 or 8 digits.
    next_sms_in, next_voice_in: seconds until another text or call, None when there is none left.
    """

    id: str
    phone_number: str
    status: str
    channel: str
    code_length: int
    expires_at: Time
    checks_left: int
    next_sms_in: int | None = None
    next_voice_in: int | None = None


class Registration(Answer, frozen=True):
    """A new device of the account that the verified number belongs to; its token is secret."""

    secret = frozenset({"device_token"})
    account_id: str
    phone_number: str
    device_id: str
    device_token: str
    reregistered: bool = False


class Account(Answer, frozen=True):
    """The account of the device token; `device_id` is the device of the token.

    registration_lock_state: "active", or "lapsed" after 7 days without any device; None without a
    PIN. registration_lock_ends_at: when a removal that was requested without the PIN takes effect.
    """

    account_id: str
    phone_number: str
    device_id: str
    discoverable: bool
    registration_lock: bool
    created_at: Time
    registration_lock_state: str | None = None
    registration_lock_ends_at: Time | None = None


class MailboxFill(Answer, frozen=True):
    """How many messages and bytes wait for a device, and the limits."""

    messages: int
    bytes: int
    max_messages: int
    max_bytes: int


class Missed(Answer, frozen=True):
    """Messages since a time were not stored for this device; acknowledging `through` clears this."""

    since: Time
    through: int


class Device(Answer, frozen=True):
    """A device of the account; `current` marks the device of the token.

    token_revoked_at: when it was signed out; its mailbox is kept for 30 days.
    """

    id: str
    name: str | None
    platform: str | None
    created_at: Time
    last_seen_at: Time | None
    current: bool
    token_revoked_at: Time | None = None
    mailbox: MailboxFill | None = None


class DeviceLink(Answer, frozen=True):
    """A code that adds one device to the account, once and until `expires_at`."""

    secret = frozenset({"link_code"})
    link_code: str
    expires_at: Time


class LinkedDevice(Answer, frozen=True):
    """A device that was added by a link code; its token is secret."""

    secret = frozenset({"device_token"})
    account_id: str
    device_id: str
    device_token: str


class Budget(Answer, frozen=True):
    """How many new hashes may still be looked up, the most there can be, and the daily refill."""

    left: int
    capacity: int
    refill_per_day: int


class DiscoveryParameters(Answer, frozen=True):
    """How to hash numbers until `expires_at`, the most hashes of one lookup, and the budget.

    budget: None on a server without budgets. budget_owner: the id of the budget's owner, to which sync
    tokens are bound; None on an older server.
    """

    epoch: str
    algorithm: str
    salt: str
    max_hashes: int
    expires_at: Time | None = None
    budget: Budget | None = None
    budget_owner: str | None = None


class Lookup(Answer, frozen=True):
    """The account id of each hash that belongs to an account.

    sync_token: proves that every hash of the request is paid for; None without budgets.
    """

    matches: dict[str, str]
    sync_token: str | None = None
    budget: Budget | None = None


class Envelope(Answer, frozen=True):
    """Ciphertext for one device, and the registration id of the keys it is encrypted for."""

    secret = frozenset({"content"})
    device_id: str
    content: Binary
    registration_id: int | None = None


class GroupVersion(Answer, frozen=True):
    """A group at one version of its membership."""

    id: str
    version: int


class AcceptedMessage(Answer, frozen=True):
    """A message that the server has stored for every device."""

    id: str
    accepted_at: Time


class Message(Answer, frozen=True):
    """A ciphertext from this device's mailbox; acknowledgements name its `seq`.

    request: this account has not accepted the sender yet. group: set for a message to a group.
    """

    secret = frozenset({"content"})
    seq: int
    id: str
    from_account_id: str
    from_device_id: str
    content: Binary
    sent_at: Time
    request: bool | None = None
    group: GroupVersion | None = None


class MessagePage(Answer, frozen=True):
    """Messages in order; `more` is set when others follow."""

    messages: tuple[Message, ...]
    more: bool
    missed: Missed | None = None


class PeerContact(Answer, frozen=True):
    """Another account and its state for this one: "accepted" or "blocked"."""

    account_id: str
    state: str
    since: Time


class ContactPage(Answer, frozen=True):
    """Contacts by ascending id; `more` is set when others follow."""

    contacts: tuple[PeerContact, ...]
    more: bool


class GroupMember(Answer, frozen=True):
    """An account in a group: role "admin" or "member", state "joined" or "invited"."""

    account_id: str
    role: str
    state: str


class Group(Answer, frozen=True):
    """A group and its members at a version."""

    id: str
    name: str
    version: int
    members: tuple[GroupMember, ...]


class GroupSummary(Answer, frozen=True):
    """A group without its members, and this account's role and state in it."""

    id: str
    name: str
    version: int
    role: str
    state: str


class GroupPage(Answer, frozen=True):
    """Groups by ascending id; `more` is set when others follow."""

    groups: tuple[GroupSummary, ...]
    more: bool


class PushParameters(Answer, frozen=True):
    """The subscription types that the server supports, and the VAPID key for browsers."""

    types: tuple[str, ...]
    vapid_public_key: str | None = None


class PushSubscription(Answer, frozen=True):
    """The push service of this device: "webpush", "apns" or "fcm"."""

    type: str


class GroupDevice(Answer, frozen=True):
    """A member's device; `registration_id` is None while it has no keys."""

    account_id: str
    device_id: str
    registration_id: int | None = None


class GroupDevices(Answer, frozen=True):
    """All devices of a group but this one, and the digest over them, at a version."""

    version: int
    devices: tuple[GroupDevice, ...]
    digest: Binary


class OutboxText(Answer, frozen=True):
    """A text or call of the mock provider (development servers only)."""

    secret = frozenset({"body"})
    to: str
    body: str
    channel: str
    sent_at: Time


Model = TypeVar("Model")


def decode(model: type[Model], content: bytes) -> Model:
    """Return a JSON document as `model`; raise KithAnswerUnreadable, which names the member and
    never its value.
    """
    try:
        return msgspec.json.decode(content, type=model, dec_hook=_decode_binary)
    except msgspec.ValidationError as error:
        raise KithAnswerUnreadable(
            f"The answer does not follow the Kith API: {error}. Is this a Kith server?"
        ) from None
    except (msgspec.DecodeError, RecursionError):
        raise KithAnswerUnreadable("The answer is not JSON. Is this a Kith server?") from None


def _decode_binary(_: type, text: Any) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (TypeError, ValueError):
        raise ValueError("Expected base64url") from None


def base64url(content: bytes) -> str:
    """Return `content` as the API writes binary: base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
