"""What crosses the wire about contacts."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from core.api import Answer, Body, Query
from messaging.contacts.service import WireState

MAX_LISTED_CONTACTS = 1000


class ContactChange(Body):
    """How the caller's account is to stand to another one."""

    state: WireState = Field(
        description="`accepted`: its messages are no requests, its signals come through;"
        " `blocked`: they are dropped without a word."
    )


class ContactsQuery(Query):
    """Which contacts to list."""

    state: WireState | None = None
    after: UUID | None = Field(None, description="The last `account_id` of the page before.")
    limit: int = Field(100, ge=1, le=MAX_LISTED_CONTACTS)


class ContactAnswer(Answer):
    """How the caller's account stands to another one."""

    account_id: UUID
    state: WireState
    since: datetime


class ContactsAnswer(Answer):
    """Contacts by ascending id; `more` follow after the last."""

    contacts: list[ContactAnswer]
    more: bool
