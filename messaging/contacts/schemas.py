"""Request and answer bodies of contacts."""

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import Field

from core.parsing import Answer, Body, Query
from messaging.contacts.models import Contact, ContactState
from messaging.contacts.service import WireState

MAX_LISTED_CONTACTS = 1000


class ContactChange(Body):
    """What the caller's account decides about another one."""

    state: WireState = Field(
        description="`accepted`: its messages are not requests, and its signals are delivered."
        " `blocked`: both are silently dropped."
    )


class ContactsQuery(Query):
    """Which contacts to list."""

    state: WireState | None = None
    after: UUID | None = Field(None, description="The last `account_id` of the previous page.")
    limit: int = Field(100, ge=1, le=MAX_LISTED_CONTACTS)


class ContactAnswer(Answer):
    """What the caller's account decided about another one."""

    account_id: UUID
    state: WireState
    since: datetime

    @classmethod
    def of(cls, contact: Contact) -> Self:
        """Build the answer from a contact."""
        accepted = contact.state == ContactState.ACCEPTED
        return cls(
            account_id=contact.peer_id,
            state="accepted" if accepted else "blocked",
            since=contact.since,
        )


class ContactsAnswer(Answer):
    """Contacts by ascending id; `more` follow after the last."""

    contacts: list[ContactAnswer]
    more: bool
