"""Tables of discovery: epochs, directory entries and their changes, and budgets."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class DiscoveryEpoch(Base):
    """A period in which numbers are hashed with one public salt."""

    __tablename__ = "discovery_epochs"
    __table_args__ = {"info": {"shard_by": None}}

    #: Counts from 1, so that of concurrent processes that create the first epoch one wins.
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    #: Its name for clients, derived from the salt, so that a new database has another one.
    id: Mapped[str] = mapped_column(String(16))
    #: 32 random bytes as base64url; this text is hashed.
    salt: Mapped[str] = mapped_column(String(43))
    created_at: Mapped[datetime] = mapped_column()
    #: None until the next epoch is open.
    expires_at: Mapped[datetime | None] = mapped_column()
    #: `announced` while it is being filled, `filled`, `open` while it answers, `closed` while its
    #: entries are being removed.
    state: Mapped[str] = mapped_column(String(10), server_default="open")
    #: The transaction that changed the state; unused on SQLite.
    changed_in: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: The last account id filled, or the last digest removed.
    cursor: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    #: The latest position whose changes were deleted; a reader behind it reads the table.
    forgotten: Mapped[int] = mapped_column(BigInteger, server_default="0")


class DirectoryEntry(Base):
    """A discoverable number: its digest in an epoch, and its account."""

    __tablename__ = "directory_entries"
    # Without a rowid SQLite keeps the rows in the tree of the key: a third less disk, one descent a digest.
    __table_args__ = {"info": {"shard_by": "digest"}, "sqlite_with_rowid": False}

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    #: The epoch's number.
    epoch: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    account_id: Mapped[UUID] = mapped_column()


class DirectoryChange(Base):
    """A change of a digest: it leads to an account, or nowhere."""

    __tablename__ = "directory_changes"
    __table_args__ = (
        Index(None, "epoch", "transaction_id"),
        {"info": {"shard_by": None}, "sqlite_autoincrement": True},
    )

    #: Orders the changes of one digest; on PostgreSQL not those of different digests.
    seq: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    epoch: Mapped[int] = mapped_column(SmallInteger)
    #: PostgreSQL's id of the transaction, the position of readers (changes.py).
    transaction_id: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    #: None: it leads nowhere.
    account_id: Mapped[UUID | None] = mapped_column()
    changed_at: Mapped[datetime] = mapped_column(index=True)


class DiscoveryBudget(Base):
    """The lookup budget of a number or a service; it outlives accounts and devices."""

    __tablename__ = "discovery_budgets"
    __table_args__ = {"info": {"shard_by": "subject"}, "sqlite_with_rowid": False}

    #: Keyed digest of the number, or of the service's name.
    subject: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: The tier that an operator assigned; None: the default.
    tier: Mapped[str | None] = mapped_column(String(32))
    #: Level of the bucket at `at_us`, in millionths of a hash.
    spent: Mapped[int] = mapped_column(BigInteger)
    #: Microseconds since 1970.
    at_us: Mapped[int] = mapped_column(BigInteger, index=True)
    #: The newest epoch of a charge.
    epoch: Mapped[int] = mapped_column(SmallInteger)
    #: Hashes paid for in that epoch, or looked up again for free.
    paid: Mapped[int] = mapped_column(BigInteger)
    #: Hashes that may still be looked up again for free, because as many were paid for in the epoch before.
    free: Mapped[int] = mapped_column(BigInteger)
    #: Keyed fingerprints of the last charges, 16 bytes each, newest first.
    recent: Mapped[bytes] = mapped_column(LargeBinary(128))
