"""Tables of mailboxes, the envelopes in them, and what each device sent within a day."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Mailbox(Base):
    """One device's queue: its row is locked by whoever puts something in or takes something out."""

    __tablename__ = "mailboxes"
    __table_args__ = {"info": {"shard_by": "device_id"}, "sqlite_with_rowid": False}

    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column()
    #: The number given out last; the first envelope has 1.
    last_seq: Mapped[int] = mapped_column(BigInteger)
    #: All up to here was acknowledged; never goes back.
    acked_seq: Mapped[int] = mapped_column(BigInteger)
    #: Envelopes stored now. Expiry leaves gaps, so the two above do not tell it.
    waiting: Mapped[int] = mapped_column(Integer)


class Envelope(Base):
    """Ciphertext for one device, and who sent it."""

    __tablename__ = "envelopes"
    __table_args__ = (Index(None, "expires_at"), {"info": {"shard_by": "device_id"}})

    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    #: Shared by the envelopes of one message.
    message_id: Mapped[UUID] = mapped_column()
    from_account_id: Mapped[UUID] = mapped_column()
    from_device_id: Mapped[UUID] = mapped_column()
    content: Mapped[bytes] = mapped_column(LargeBinary)
    sent_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()


class SentMessage(Base):
    """What a device sent under a client id, so that the same message is not stored twice."""

    __tablename__ = "sent_messages"
    __table_args__ = (
        Index(None, "accepted_at"),
        {"info": {"shard_by": "device_id"}, "sqlite_with_rowid": False},
    )

    #: The sending device.
    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: SHA-256 over the message.
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))
    message_id: Mapped[UUID] = mapped_column()
    accepted_at: Mapped[datetime] = mapped_column()
