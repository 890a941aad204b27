"""Tables of the directory: how numbers are hashed, and which digest is which account."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import LargeBinary, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class DiscoveryEpoch(Base):
    """A span of time in which numbers are hashed with one public salt."""

    __tablename__ = "discovery_epochs"
    __table_args__ = {"info": {"shard_by": None}}

    #: Counts from 1, so that of many processes that make the first epoch one wins.
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    #: What clients name it by, derived from the salt: a database made anew has another id.
    id: Mapped[str] = mapped_column(String(16))
    #: 32 random bytes as base64url, which is the text that is hashed.
    salt: Mapped[str] = mapped_column(String(43))
    created_at: Mapped[datetime] = mapped_column()
    #: None while no other epoch is announced.
    expires_at: Mapped[datetime | None] = mapped_column()


class DirectoryEntry(Base):
    """One discoverable number, as its digest under the salt of an epoch."""

    __tablename__ = "directory_entries"
    # SQLite then keeps the rows in the key's own tree: a third less disk, one descent a digest.
    __table_args__ = {"info": {"shard_by": "digest"}, "sqlite_with_rowid": False}

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    #: The epoch's number.
    epoch: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[UUID] = mapped_column()
