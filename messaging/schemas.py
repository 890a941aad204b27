"""What crosses the wire about messages."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from core.api import Answer, Body, Query

MOST_ENVELOPES = 100
MOST_MESSAGES = 100
LONGEST_WAIT = 60
LONGEST_LIFE = 30 * 86_400
HIGHEST_SEQ = 2**63 - 1
#: The longest text of the largest content that the settings allow.
LONGEST_CONTENT = 349_526

#: Base64url without padding whose spare bits are zero, so that one content has one text.
BASE64URL = r"^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$"


class OutgoingEnvelope(Body):
    """Ciphertext for one device of the recipient."""

    device_id: UUID
    content: Annotated[
        str, StringConstraints(min_length=2, max_length=LONGEST_CONTENT, pattern=BASE64URL)
    ]


class OutgoingMessage(Body):
    """One message: an envelope for each device of an account."""

    to: UUID = Field(description="The recipient's account.")
    client_id: Annotated[
        str, StringConstraints(min_length=1, max_length=64, pattern=r"^[!-~]+$")
    ] = Field(description="The same message sent again under it within a day is stored once.")
    envelopes: list[OutgoingEnvelope] = Field(
        min_length=1,
        max_length=MOST_ENVELOPES,
        description="One for each device of the recipient; to the own account, for each other one.",
    )
    expires_in: int = Field(
        LONGEST_LIFE,
        ge=1,
        le=LONGEST_LIFE,
        description="Seconds after which it is dropped if it was not acknowledged.",
    )


class AcceptedAnswer(Answer):
    """A message that is stored for each device."""

    id: UUID
    accepted_at: datetime


class MailboxQuery(Query):
    """How much to fetch, and how long to wait for the first message."""

    limit: int = Field(50, ge=1, le=MOST_MESSAGES)
    wait: int = Field(0, ge=0, le=LONGEST_WAIT, description="Seconds, while the mailbox is empty.")


class IncomingMessage(Answer):
    """One message in the mailbox of the calling device."""

    seq: int
    id: UUID
    from_account_id: UUID
    from_device_id: UUID
    content: str = Field(description="Base64url without padding.")
    sent_at: datetime


class MailboxAnswer(Answer):
    """The oldest messages, in order; `more` wait behind them."""

    messages: list[IncomingMessage]
    more: bool


class Acknowledgement(Body):
    """The number of the last message that is safe with the client; all up to it are deleted."""

    through: int = Field(ge=0, le=HIGHEST_SEQ)
