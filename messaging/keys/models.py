"""Tables of the public keys of devices."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, Integer, LargeBinary, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class DeviceKeys(Base):
    """The public keys of a device that every session starts with."""

    __tablename__ = "device_keys"
    __table_args__ = {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False}

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: The client draws a new one with each new set of keys.
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
    """A public key that one session starts with; deleted when it is handed out."""

    __tablename__ = "one_time_prekeys"
    __table_args__ = {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False}

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: 1 X25519; 2 ML-KEM-1024.
    kind: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    key_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    public_key: Mapped[bytes] = mapped_column(LargeBinary(1568))
    #: Of ML-KEM keys only; X25519 one-time keys are not signed.
    signature: Mapped[bytes | None] = mapped_column(LargeBinary(64))


class ConsumedPrekey(Base):
    """A one-time prekey that was handed out, so that a repeated upload does not bring it back."""

    __tablename__ = "taken_prekeys"
    __table_args__ = (
        Index(None, "taken_at"),
        {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False},
    )

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: The first 16 bytes of SHA-256 of the public key. Clients reuse key ids, not keys.
    digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    taken_at: Mapped[datetime] = mapped_column()
