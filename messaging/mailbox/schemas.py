"""Request and answer bodies of messages."""

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from core.base64url import encode
from core.parsing import Answer, Body, Query
from messaging.message_types import (
    Delivery,
    DeviceEnvelope,
    GroupAtVersion,
    MessageSubmission,
    SharedContent,
)
from tokens.devices import Caller

#: All devices of a full group, with as many devices each as the settings allow.
MAX_ENVELOPES = 1024 * 100
MAX_MESSAGES = 100
MAX_WAIT_SECONDS = 60
MAX_LIFETIME_SECONDS = 30 * 86_400
MAX_SEQ = 2**63 - 1
MAX_INTEGER = 2**31 - 1
#: Characters of the largest content that the settings allow.
MAX_CONTENT_LENGTH = 349_526

#: Base64url without padding and with zero spare bits, so that one content has one text.
BASE64URL = r"^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$"
Content = Annotated[
    str, StringConstraints(min_length=2, max_length=MAX_CONTENT_LENGTH, pattern=BASE64URL)
]
Digest = Annotated[str, StringConstraints(min_length=43, max_length=43, pattern=BASE64URL)]


class OutgoingEnvelope(Body):
    """Ciphertext for one device of the recipient."""

    device_id: UUID
    registration_id: int | None = Field(
        None,
        ge=1,
        le=MAX_INTEGER,
        description="The keys it was encrypted for. Without it they are not compared.",
    )
    content: Content


class GroupVersion(Body):
    """A group at the version that the sender knows."""

    id: UUID
    version: int = Field(ge=1, le=MAX_INTEGER)


class OutgoingMessage(Body):
    """One message: an envelope for each device of an account, or of the members of a group."""

    to: UUID | None = Field(None, description="The recipient's account. Either this or `group`.")
    group: GroupVersion | None = None
    client_id: Annotated[
        str, StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$")
    ] = Field(description="The same message sent again under it within a day is stored once.")
    envelopes: list[OutgoingEnvelope] | None = Field(
        None,
        min_length=1,
        max_length=MAX_ENVELOPES,
        description="One for each device of the recipient; of the own account, each other device.",
    )
    content: Content | None = Field(
        None, description="In place of `envelopes`: one content for all devices of a group."
    )
    devices: Digest | None = Field(
        None, description="SHA-256 digest of the devices that `content` was encrypted for."
    )
    urgent: bool = Field(
        True, description="Whether devices that are not connected get a push wake-up."
    )
    expires_in: int = Field(
        MAX_LIFETIME_SECONDS,
        ge=1,
        le=MAX_LIFETIME_SECONDS,
        description="Seconds after which an unacknowledged message is deleted.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_message(self)
        return self

    def read(self, caller: Caller) -> MessageSubmission:
        """Return the message that a device submits with it."""
        return read_message(self, decode_content, caller)


def check_message(message: Any) -> None:
    """Raise ValueError unless the fields of a message fit together; also for frames of the stream."""
    if (message.to is None) == (message.group is None):
        raise ValueError("must have either to or group")
    if (message.content is None) != (message.devices is None):
        raise ValueError("must have content and devices together")
    if (message.envelopes is None) == (message.content is None):
        raise ValueError("must have either envelopes or content")
    if message.content is not None and message.group is None:
        raise ValueError("must be to a group to have one content for all devices")


def read_message(message: Any, decode: Callable[[Any], bytes], caller: Caller) -> MessageSubmission:
    """Return the message that a device submits with a body, or with a frame of the stream of the same fields.

    decode: returns the bytes of a content as the body or frame writes it.
    """
    group = message.group
    if message.content is not None:
        contents: list[DeviceEnvelope] | SharedContent = SharedContent(
            decode(message.content), decode(message.devices)
        )
    else:
        contents = [
            DeviceEnvelope(one.device_id, decode(one.content), one.registration_id)
            for one in message.envelopes
        ]
    return MessageSubmission(
        caller.account_id,
        caller.device_id,
        message.client_id,
        message.to if group is None else GroupAtVersion(group.id, group.version),
        contents,
        message.urgent,
        message.expires_in,
        caller.number_id,
    )


def decode_content(text: str) -> bytes:
    """Decode base64url that matched `BASE64URL`."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class AcceptedAnswer(Answer):
    """A message that is stored for each device."""

    id: UUID
    accepted_at: datetime


class MailboxQuery(Query):
    """How much to fetch, and how long to wait for the first message."""

    limit: int = Field(
        50,
        ge=1,
        le=MAX_MESSAGES,
        description="Fewer come, with `more` true, if their contents exceed 1 MiB.",
    )
    wait: int = Field(
        0, ge=0, le=MAX_WAIT_SECONDS, description="Seconds, while the mailbox is empty."
    )


class IncomingGroup(Answer):
    """The group a message was sent to, at the version that its sender knew."""

    id: UUID
    version: int


class IncomingMessage(Answer):
    """One message in the mailbox of the calling device."""

    seq: int
    id: UUID
    from_account_id: UUID
    from_device_id: UUID
    content: str = Field(description="Base64url without padding.")
    sent_at: datetime
    request: bool = Field(description="Whether the account is not in touch with the sender.")
    group: IncomingGroup | None = None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """Build the answer from an envelope."""
        header = delivery.header
        return cls(
            seq=delivery.seq,
            id=header.id,
            from_account_id=header.from_account_id,
            from_device_id=header.from_device_id,
            content=encode(delivery.content),
            sent_at=header.sent_at,
            request=delivery.is_request,
            group=header.group and IncomingGroup(**header.group._asdict()),
        )


class MissedMessages(Answer):
    """Messages that were not stored for this device: its mailbox was full, or the device was idle."""

    since: datetime = Field(description="When the first of them came.")
    through: int = Field(
        description="Acknowledge this number to end the notice. It is in the order of `seq`."
    )


class MailboxAnswer(Answer):
    """The oldest messages, in order; `more` wait behind them."""

    messages: list[IncomingMessage]
    more: bool
    missed: MissedMessages | None = Field(
        None, description="Null unless messages to this device were not stored."
    )


class Acknowledgement(Body):
    """The number of the last message that the client has stored; all up to it are deleted."""

    through: int = Field(ge=0, le=MAX_SEQ)
