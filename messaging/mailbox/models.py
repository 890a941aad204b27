"""Tables of mailboxes, of what is in them, and of what devices sent."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String, false
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
    #: The number of the last message that is urgent: while it waits, the device is woken.
    urgent_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: Envelopes stored now. Expiry leaves gaps, so the two above do not tell it.
    waiting: Mapped[int] = mapped_column(Integer)
    #: Bytes of content in them, wherever it is stored.
    waiting_bytes: Mapped[int] = mapped_column(BigInteger)
    #: Those of them that came from accounts that the recipient was not in touch with.
    requests: Mapped[int] = mapped_column(Integer, server_default="0")
    request_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: Those of them that came to groups.
    group_messages: Mapped[int] = mapped_column(Integer, server_default="0")
    group_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: Whether `mailbox_shares` has a row for each sender of what waits.
    has_shares: Mapped[bool] = mapped_column(server_default=false())
    #: The number of the last message that was not stored, for want of room or because the device was idle.
    missed_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: When the first of those came, until the device acknowledges that number.
    missed_since: Mapped[datetime | None] = mapped_column()


class MailboxShare(Base):
    """What of a mailbox that is over half full one sender has filled."""

    __tablename__ = "mailbox_shares"
    __table_args__ = {"info": {"shard_by": "device_id"}, "sqlite_with_rowid": False}

    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    from_account_id: Mapped[UUID] = mapped_column(primary_key=True)
    waiting: Mapped[int] = mapped_column(Integer)
    waiting_bytes: Mapped[int] = mapped_column(BigInteger)


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
    #: None when it is a `Payload`, stored once for all devices of a group.
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: Bytes of content, here or there.
    size: Mapped[int] = mapped_column(Integer)
    sent_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()
    #: Whether the recipient was not in touch with the sender when it came.
    is_request: Mapped[bool] = mapped_column()
    #: The group it was sent to, and the version of it that the sender knew.
    group_id: Mapped[UUID | None] = mapped_column()
    group_version: Mapped[int | None] = mapped_column(Integer)


class Payload(Base):
    """Content that a message has for all devices of a group, until the last of them has it."""

    __tablename__ = "payloads"
    __table_args__ = {"info": {"shard_by": "message_id"}, "sqlite_with_rowid": False}

    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    #: Envelopes that still lead here; with the last of them it ends.
    waiting: Mapped[int] = mapped_column(Integer)


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
