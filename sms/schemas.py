"""Schemas of the outbox, and of messages to and reports from the operator's sender."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from core.base64url import decode
from core.parsing import Answer, Body, Query
from sms.delivery import REFERENCE_SIZE
from sms.provider import Channel


def _reference(value: str) -> str:
    if decode(value, REFERENCE_SIZE) is None:
        raise ValueError("must be the reference of a message")
    return value


class OutboxQuery(Query):
    """Filters of the outbox."""

    to: str | None = Field(None, max_length=20, description="An E.164 number; empty shows all.")


class OutboxEntry(Answer):
    """A message of the mock provider."""

    to: str
    body: str
    channel: str
    sent_at: datetime


class OutboxAnswer(Answer):
    """Messages of the mock provider, newest first."""

    messages: list[OutboxEntry]


class WebhookMessage(Answer):
    """A text or call, as it is posted to the sender."""

    reference: str
    to: str = Field(repr=False)
    channel: Channel
    body: str = Field(repr=False)
    language: str
    sent_at: datetime
    expires_at: datetime


class WebhookReport(Body):
    """The sender's report on one message."""

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
