"""What the outbox shows."""

from datetime import datetime

from pydantic import Field

from core.api import Answer, Query


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
