"""The table of contacts."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Contact(Base):
    """How an account stands to another one that writes to it."""

    __tablename__ = "contacts"
    __table_args__ = (
        Index(None, "peer_id"),
        {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False},
    )

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    peer_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: 1 accepted, also by having been written to; 2 blocked; 3 blocked, and accepted before; 4 a number
    #: whose account was blocked and is gone: `peer_id` is a digest of what stands for the number.
    state: Mapped[int] = mapped_column(SmallInteger)
    since: Mapped[datetime] = mapped_column()
    #: Of a blocked number: the account as whoever blocked it knew it.
    former_id: Mapped[UUID | None] = mapped_column()
