"""Tables of accounts, their numbers and devices, and of tokens of devices and services."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, LargeBinary, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Account(Base):
    """An account and its number."""

    __tablename__ = "accounts"
    __table_args__ = {"info": {"shard_by": "id"}, "sqlite_with_rowid": False}

    id: Mapped[UUID] = mapped_column(primary_key=True)
    e164: Mapped[str] = mapped_column(String(16))
    discoverable: Mapped[bool] = mapped_column()
    #: Identifies the number in blocks and limits, across accounts; None: the account's id does.
    number_id: Mapped[UUID | None] = mapped_column()
    #: Argon2id hash of the PIN; None without a registration lock.
    registration_lock: Mapped[str | None] = mapped_column(String(128))
    #: When the lock ends, because a device requested its removal without the PIN.
    registration_lock_ends_at: Mapped[datetime | None] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()
    #: To the hour, see `DeviceTokenService.authenticate`.
    last_seen_at: Mapped[datetime] = mapped_column()


class AccountNumber(Base):
    """The account of a number."""

    __tablename__ = "account_numbers"
    __table_args__ = {"info": {"shard_by": "e164"}, "sqlite_with_rowid": False}

    e164: Mapped[str] = mapped_column(String(16), primary_key=True)
    account_id: Mapped[UUID] = mapped_column()


class FormerNumber(Base):
    """A number that leads to no account, and its id in blocks and limits."""

    __tablename__ = "former_numbers"
    __table_args__ = {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False}

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    number_id: Mapped[UUID] = mapped_column()
    #: When its account was last used.
    last_seen_at: Mapped[datetime] = mapped_column(index=True)


class FormerLock(Base):
    """A registration lock that an account left on its former number."""

    __tablename__ = "former_locks"
    __table_args__ = {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False}

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: The account that left; PIN tries still count against it.
    account_id: Mapped[UUID] = mapped_column()
    #: Argon2id hash of the PIN.
    pin_hash: Mapped[str] = mapped_column(String(128))
    lapses_at: Mapped[datetime] = mapped_column(index=True)


class Device(Base):
    """One device of an account and the hashes of its token."""

    __tablename__ = "devices"
    __table_args__ = (
        # Partial: nearly all devices have a valid token, and only the others are searched for.
        Index(
            None,
            "token_revoked_at",
            sqlite_where=text("token_revoked_at IS NOT NULL"),
            postgresql_where=text("token_revoked_at IS NOT NULL"),
        ),
        {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False},
    )

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(100))
    platform: Mapped[str | None] = mapped_column(String(50))
    #: SHA-256 of the token's 256-bit secret; empty while the device has no valid token.
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    #: Issued by a rotation and unused; its first use retires the one above.
    next_token_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    #: Since when the device has no valid token.
    token_revoked_at: Mapped[datetime | None] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()
    last_seen_at: Mapped[datetime] = mapped_column()


class RetiredToken(Base):
    """A token that was replaced; its use means that a token of the device was stolen."""

    __tablename__ = "retired_tokens"
    __table_args__ = {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False}

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    retired_at: Mapped[datetime] = mapped_column(index=True)
    #: Whether another rotation replaced it before its first use: two parties rotated the same token.
    never_used: Mapped[bool] = mapped_column(server_default=false())


class DeviceLink(Base):
    """A link code, with which one device joins an account."""

    __tablename__ = "device_links"
    __table_args__ = (
        Index(None, "expires_at"),
        {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False},
    )

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: SHA-256 of the code's 256-bit secret.
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column()
    #: The device that redeemed it, for repeated redemptions.
    device_id: Mapped[UUID | None] = mapped_column()


class ServiceToken(Base):
    """A token of a service; all tokens of a name act for the same service."""

    __tablename__ = "service_tokens"
    __table_args__ = (
        Index(None, "expires_at"),
        {"info": {"shard_by": "id"}, "sqlite_with_rowid": False},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    #: Space-separated, as in OAuth (RFC 6749 section 3.3).
    scopes: Mapped[str] = mapped_column(String(200))
    #: Lookup budget; None without the scope `discovery`.
    discovery_burst: Mapped[int | None] = mapped_column()
    discovery_per_day: Mapped[int | None] = mapped_column()
    #: SHA-256 of the token's 256-bit secret.
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()
    revoked_at: Mapped[datetime | None] = mapped_column()
    #: To the hour, see `ServiceTokenService.authenticate`.
    last_used_at: Mapped[datetime | None] = mapped_column()
