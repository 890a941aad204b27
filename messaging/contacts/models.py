"""The table of contacts: how accounts stand to each other."""

from datetime import datetime
from enum import IntEnum
from uuid import UUID

from sqlalchemy import Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class ContactState(IntEnum):
    """What an account decided about another one; without a row, nothing."""

    #: By hand, or by sending it a message.
    ACCEPTED = 1
    BLOCKED = 2
    #: Keeps the limits of an accepted sender, or a change of them would tell it that it is blocked.
    BLOCKED_AFTER_ACCEPTED = 3
    #: The account was blocked and left its number, or was deleted: the next account of the number is blocked.
    BLOCKED_NUMBER = 4


class Contact(Base):
    """What an account decided about another account."""

    __tablename__ = "contacts"
    __table_args__ = (
        Index(None, "peer_id"),
        {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False},
    )

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: Of a blocked number: a digest of the number's id instead of an account.
    peer_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: A `ContactState`.
    state: Mapped[int] = mapped_column(SmallInteger)
    since: Mapped[datetime] = mapped_column()
    #: Of a blocked number: the account that was blocked.
    former_id: Mapped[UUID | None] = mapped_column()
