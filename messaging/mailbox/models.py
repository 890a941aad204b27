"""Tables of mailboxes, of what is in them, and of what devices sent."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String, false
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Mailbox(Base):
    """The queue of one device. Every transaction that adds or deletes envelopes locks its row."""

    __tablename__ = "mailboxes"
    __table_args__ = {"info": {"shard_by": "device_id"}, "sqlite_with_rowid": False}

    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column()
    #: The last assigned number; the first envelope gets 1.
    last_seq: Mapped[int] = mapped_column(BigInteger)
    #: Everything up to here was acknowledged. Never goes back.
    acked_seq: Mapped[int] = mapped_column(BigInteger)
    #: The number of the last urgent message: the device is woken while it waits.
    urgent_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: Stored envelopes. Expiry leaves gaps, so the numbers above do not tell.
    waiting: Mapped[int] = mapped_column(Integer)
    #: Bytes of content in them, payloads included.
    waiting_bytes: Mapped[int] = mapped_column(BigInteger)
    #: Message requests among them.
    requests: Mapped[int] = mapped_column(Integer, server_default="0")
    request_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: Messages to groups among them.
    group_messages: Mapped[int] = mapped_column(Integer, server_default="0")
    group_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: Whether `mailbox_shares` has a row for each sender of a waiting envelope.
    has_shares: Mapped[bool] = mapped_column(server_default=false())
    #: The number of the last message that was not stored, because there was no room or the device was idle.
    missed_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    #: When the first missed message came, until the device acknowledges `missed_seq`.
    missed_since: Mapped[datetime | None] = mapped_column()


class MailboxShare(Base):
    """How much one sender has filled of a mailbox that is more than half full."""

    __tablename__ = "mailbox_shares"
    __table_args__ = {"info": {"shard_by": "device_id"}, "sqlite_with_rowid": False}

    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    from_account_id: Mapped[UUID] = mapped_column(primary_key=True)
    waiting: Mapped[int] = mapped_column(Integer)
    waiting_bytes: Mapped[int] = mapped_column(BigInteger)


class Envelope(Base):
    """Ciphertext for one device, and its sender."""

    __tablename__ = "envelopes"
    __table_args__ = (Index(None, "expires_at"), {"info": {"shard_by": "device_id"}})

    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    #: Shared by the envelopes of one message.
    message_id: Mapped[UUID] = mapped_column()
    from_account_id: Mapped[UUID] = mapped_column()
    from_device_id: Mapped[UUID] = mapped_column()
    #: None: the content is a `Payload`, stored once for all devices of a group.
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: Bytes of content, here or in the payload.
    size: Mapped[int] = mapped_column(Integer)
    sent_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()
    #: Whether the recipient was not in touch with the sender when the message came.
    is_request: Mapped[bool] = mapped_column()
    #: The group it was sent to, and the version that the sender knew.
    group_id: Mapped[UUID | None] = mapped_column()
    group_version: Mapped[int | None] = mapped_column(Integer)


class Payload(Base):
    """Content that a message has for all devices of a group, until the last of them has it."""

    __tablename__ = "payloads"
    __table_args__ = {"info": {"shard_by": "message_id"}, "sqlite_with_rowid": False}

    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    #: Envelopes that point here; the payload is deleted with the last of them.
    waiting: Mapped[int] = mapped_column(Integer)


class SentMessage(Base):
    """What a device sent under a client id, so that a message which is sent again is stored once."""

    __tablename__ = "sent_messages"
    __table_args__ = (
        Index(None, "accepted_at"),
        {"info": {"shard_by": "device_id"}, "sqlite_with_rowid": False},
    )

    #: The sending device.
    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: SHA-256 digest of the message.
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))
    message_id: Mapped[UUID] = mapped_column()
    accepted_at: Mapped[datetime] = mapped_column()
