"""Tables of mailboxes and what is in them, of keys, groups, contacts, and of push."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, SmallInteger, String, false
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


class DeviceKeys(Base):
    """Public keys of a device that many sessions begin with; those for one session are prekeys."""

    __tablename__ = "device_keys"
    __table_args__ = {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False}

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: Drawn by the client with each new identity key.
    registration_id: Mapped[int] = mapped_column(Integer)
    #: Ed25519, 32 bytes.
    identity_key: Mapped[bytes] = mapped_column(LargeBinary(32))
    signed_prekey_id: Mapped[int] = mapped_column(Integer)
    #: X25519, 32 bytes.
    signed_prekey: Mapped[bytes] = mapped_column(LargeBinary(32))
    signed_prekey_signature: Mapped[bytes] = mapped_column(LargeBinary(64))
    last_resort_id: Mapped[int | None] = mapped_column(Integer)
    #: ML-KEM-1024, 1,568 bytes.
    last_resort: Mapped[bytes | None] = mapped_column(LargeBinary(1568))
    last_resort_signature: Mapped[bytes | None] = mapped_column(LargeBinary(64))
    updated_at: Mapped[datetime] = mapped_column()


class OneTimePrekey(Base):
    """A public key of a device that one session begins with: it is deleted when it is handed out."""

    __tablename__ = "one_time_prekeys"
    __table_args__ = {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False}

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: 1 X25519; 2 ML-KEM-1024.
    kind: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    key_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    public_key: Mapped[bytes] = mapped_column(LargeBinary(1568))
    #: Of the second kind only; in the first nothing is signed.
    signature: Mapped[bytes | None] = mapped_column(LargeBinary(64))


class TakenPrekey(Base):
    """A one-time prekey that was handed out: an upload that is repeated must not bring it back."""

    __tablename__ = "taken_prekeys"
    __table_args__ = (
        Index(None, "taken_at"),
        {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False},
    )

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: The first 16 bytes of SHA-256 over the public key; ids of keys are used again, keys are not.
    digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    taken_at: Mapped[datetime] = mapped_column()


class PushSubscription(Base):
    """Where a device is woken, and how far that is: one by the device itself, and the operator's webhook."""

    __tablename__ = "push_subscriptions"
    __table_args__ = (
        Index(None, "type", "due_at"),
        {"info": {"shard_by": "device_id"}, "sqlite_with_rowid": False},
    )

    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: Whether this is the operator's webhook, which has no address of the device.
    is_webhook: Mapped[bool] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(8))
    #: An endpoint or a provider's token: who knows it can wake the device.
    address: Mapped[str] = mapped_column(String(2048))
    #: Of Web Push: P-256, uncompressed.
    p256dh: Mapped[bytes | None] = mapped_column(LargeBinary(65))
    auth: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    #: When to look at it next; None: there is nothing to do. While claimed, the end of the claim.
    due_at: Mapped[datetime | None] = mapped_column()
    #: Whether a process is at it.
    claimed: Mapped[bool] = mapped_column()
    #: Times it was woken since it last acknowledged something.
    woken: Mapped[int] = mapped_column(Integer)
    #: Times in a row that this did not work.
    failures: Mapped[int] = mapped_column(Integer)
    #: What the mailbox had acknowledged when the claim began.
    acked_seq: Mapped[int] = mapped_column(BigInteger)


class Group(Base):
    """Some accounts that are written to as one; its row is locked by whoever changes who they are."""

    __tablename__ = "groups"
    __table_args__ = {"info": {"shard_by": "id"}, "sqlite_with_rowid": False}

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    #: From 1, one more with every change of the group or of who is in it.
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column()


class GroupMember(Base):
    """An account in a group, or invited to it."""

    __tablename__ = "group_members"
    __table_args__ = {"info": {"shard_by": "group_id"}, "sqlite_with_rowid": False}

    group_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: 1 member, 2 admin.
    role: Mapped[int] = mapped_column(SmallInteger)
    #: 1 joined, 2 invited, 3 invited but not told.
    state: Mapped[int] = mapped_column(SmallInteger)
    #: When it came to this state.
    since: Mapped[datetime] = mapped_column()
    #: None for whoever made the group.
    invited_by: Mapped[UUID | None] = mapped_column()


class Membership(Base):
    """The way from an account to its groups; written with `GroupMember`, in the same state."""

    __tablename__ = "memberships"
    __table_args__ = {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False}

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    group_id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[int] = mapped_column(SmallInteger)
    #: What stands for the number of whose invitation it is or was; None for whoever made the group.
    invited_by: Mapped[UUID | None] = mapped_column()
