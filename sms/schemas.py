"""What the outbox shows, and what passes between the service and the operator's sender."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from core.api import Answer, Body, Query
from core.base64url import decode
from sms.delivery import REFERENCE_SIZE
from sms.provider import Channel


def _reference(value: str) -> str:
    if decode(value, REFERENCE_SIZE) is None:
        raise ValueError("must be the reference of a message, as it was given")
    return value


class OutboxQuery(Query):
    """Whose texts to show."""

    to: str | None = Field(None, max_length=20, description="An E.164 number; empty shows all.")


class OutboxEntry(Answer):
    """One text or call of the mock provider."""

    to: str
    body: str
    channel: str
    sent_at: datetime


class OutboxAnswer(Answer):
    """Texts of the mock provider, newest first."""

    messages: list[OutboxEntry]


class WebhookMessage(Answer):
    """One text or call, as it is posted to the operator's sender."""

    reference: str
    to: str = Field(repr=False)
    channel: Channel
    body: str = Field(repr=False)
    language: str
    sent_at: datetime
    expires_at: datetime


class WebhookReport(Body):
    """What the operator's sender knows of one message."""

    reference: Annotated[str, AfterValidator(_reference)] = Field(
        min_length=43, max_length=43, description="The `reference` that came with the message."
    )
    status: Literal["sent", "delivered", "undelivered", "failed"]
    error_code: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_.-]{1,32}$", description="What went wrong, for operators."
    )
    id: str | None = Field(
        None, pattern=r"^[!-~]{1,64}$", description="The sender's own id of the message."
    )
