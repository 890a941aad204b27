"""Tables of sends and of the mock provider's outbox."""

from datetime import datetime

from sqlalchemy import Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Send(Base):
    """One text or call handed to a provider, and what is known of its delivery."""

    __tablename__ = "sends"
    __table_args__ = (
        Index(None, "created_at"),
        {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False},
    )

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    id: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: What it was sent for: the second half of the verification's id.
    verification: Mapped[bytes] = mapped_column(LargeBinary(16))
    channel: Mapped[str] = mapped_column(String(8))
    provider: Mapped[str] = mapped_column(String(32))
    #: queued, unknown, sent, then one of delivered, undelivered, failed; never backwards.
    status: Mapped[str] = mapped_column(String(16))
    provider_message_id: Mapped[str | None] = mapped_column(String(64))
    error_code: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column()
    updated_at: Mapped[datetime] = mapped_column()


class OutboxMessage(Base):
    """A text that the mock provider "sent"; development only."""

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "to", "id"), {"info": {"shard_by": None}})

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    to: Mapped[str] = mapped_column(String(16))
    body: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(String(8))
    sent_at: Mapped[datetime] = mapped_column(index=True)


class SmppMessage(Base):
    """Which send an SMSC means by its id of a message; receipts name nothing else.

    Written by whichever comes first, the answer to the submit or a receipt, of any worker's bind.
    """

    __tablename__ = "smpp_messages"
    __table_args__ = (
        Index(None, "created_at"),
        {"info": {"shard_by": "message_id"}, "sqlite_with_rowid": False},
    )

    message_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: The send; None while only a receipt has come.
    number_digest: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    send_id: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    #: What the receipts said so far; never backwards.
    status: Mapped[str | None] = mapped_column(String(16))
    error_code: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column()
