"""Tables of discovery: how numbers are hashed, which digest is which account, and what changed."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, SmallInteger, String
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
    #: `announced` while it is being filled, `filled`, `open` while it answers, `closed` while its
    #: entries are being removed.
    state: Mapped[str] = mapped_column(String(10), server_default="open")
    #: The transaction that changed the state; of no meaning on SQLite.
    changed_in: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: How far filling (an account's id) or removing (a digest) has come.
    cursor: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    #: The latest position whose changes were deleted: who has not read past it reads the table anew.
    forgotten: Mapped[int] = mapped_column(BigInteger, server_default="0")


class DirectoryEntry(Base):
    """One discoverable number, as its digest under the salt of an epoch."""

    __tablename__ = "directory_entries"
    # SQLite then keeps the rows in the key's own tree: a third less disk, one descent a digest.
    __table_args__ = {"info": {"shard_by": "digest"}, "sqlite_with_rowid": False}

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    #: The epoch's number.
    epoch: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[UUID] = mapped_column()


class DirectoryChange(Base):
    """One digest that began to lead to an account, or ceased to lead anywhere."""

    __tablename__ = "directory_changes"
    __table_args__ = (
        Index(None, "epoch", "transaction_id"),
        {"info": {"shard_by": None}, "sqlite_autoincrement": True},
    )

    #: Orders the changes of one digest. Of different digests on PostgreSQL it orders nothing.
    seq: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    epoch: Mapped[int] = mapped_column(SmallInteger)
    #: PostgreSQL's id of the transaction that made it, by which readers know what they have seen.
    transaction_id: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    #: None: it leads nowhere.
    account_id: Mapped[UUID | None] = mapped_column()
    changed_at: Mapped[datetime] = mapped_column(index=True)


class DiscoveryBudget(Base):
    """What a verified number, or a service, has spent on lookups; it outlives accounts and devices."""

    __tablename__ = "discovery_budgets"
    __table_args__ = {"info": {"shard_by": "subject"}, "sqlite_with_rowid": False}

    #: Keyed digest of the number, or of the service's name.
    subject: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: The name of a tier that an operator gave it; None: the default.
    tier: Mapped[str | None] = mapped_column(String(32))
    #: What the bucket held at `at_us`, in millionths of a hash.
    spent: Mapped[int] = mapped_column(BigInteger)
    #: Microseconds since 1970.
    at_us: Mapped[int] = mapped_column(BigInteger, index=True)
    #: The newest epoch in which it paid.
    epoch: Mapped[int] = mapped_column(SmallInteger)
    #: Hashes that it has paid for in that epoch, or re-evaluated free of charge.
    paid: Mapped[int] = mapped_column(BigInteger)
    #: Hashes that it may still re-evaluate, because it had paid for as many in the epoch before.
    free: Mapped[int] = mapped_column(BigInteger)
    #: Keyed fingerprints of the last charges, 16 bytes each, newest first.
    recent: Mapped[bytes] = mapped_column(LargeBinary(128))
