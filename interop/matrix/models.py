"""Tables of the Matrix door: who uses it, what was asked to be validated, and which number is whose."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class MatrixUser(Base):
    """A Matrix user for whom her homeserver vouched."""

    __tablename__ = "matrix_users"
    __table_args__ = {"info": {"shard_by": "id"}, "sqlite_with_rowid": False}

    #: The first 16 bytes of SHA-256 of the user id, so that her tokens and she are on one shard.
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(255))
    #: URLs of the terms that she accepted and that are still offered, one a line.
    accepted: Mapped[str] = mapped_column(Text)
    #: The account whose number she bound last; whether it is hers still, the binding says.
    bound_account: Mapped[UUID | None] = mapped_column()
    #: The id of the verification with which they proved a number last; whether it holds, its row says.
    validated_session: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column()
    #: To the hour, like that of her tokens.
    last_used_at: Mapped[datetime] = mapped_column(index=True)


class MatrixToken(Base):
    """An access token of a Matrix user."""

    __tablename__ = "matrix_tokens"
    __table_args__ = {"info": {"shard_by": "user"}, "sqlite_with_rowid": False}

    user: Mapped[UUID] = mapped_column(primary_key=True)
    #: SHA-256 of the token's 256-bit secret.
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    created_at: Mapped[datetime] = mapped_column()
    last_used_at: Mapped[datetime] = mapped_column(index=True)


class MatrixSession(Base):
    """What a user's client asked to validate: a number under a secret, and the verification for it."""

    __tablename__ = "matrix_sessions"
    __table_args__ = {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False}

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: SHA-256 over the number's digest, the user id and the client's secret.
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    #: The other half of the verification's id.
    nonce: Mapped[bytes] = mapped_column(LargeBinary(16))
    #: The latest `send_attempt` that was answered.
    send_attempt: Mapped[int] = mapped_column(BigInteger)
    next_link: Mapped[str | None] = mapped_column(String(2000))
    touched_at: Mapped[datetime] = mapped_column(index=True)


class MatrixBinding(Base):
    """The Matrix user as whom an account is found through this door."""

    __tablename__ = "matrix_bindings"
    __table_args__ = {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False}

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(255))
    #: The account's number, which was proven to bind it.
    e164: Mapped[str] = mapped_column(String(16))
    bound_at: Mapped[datetime] = mapped_column()
