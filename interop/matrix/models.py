"""Tables of the Matrix adapter: users, their tokens, validation sessions and bindings."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class MatrixUser(Base):
    """A Matrix user whose OpenID token their homeserver confirmed."""

    __tablename__ = "matrix_users"
    __table_args__ = {"info": {"shard_by": "id"}, "sqlite_with_rowid": False}

    #: The first 16 bytes of SHA-256 of the user id, so that users and their tokens are on one shard.
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(255))
    #: URLs of accepted terms that are still offered, one a line.
    accepted: Mapped[str] = mapped_column(Text)
    #: The account whose number they bound last; the binding says whether it still is theirs.
    bound_account: Mapped[UUID | None] = mapped_column()
    #: The id of the verification with which they proved a number last; its row says whether it holds.
    validated_session: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column()
    #: To the hour, like that of their tokens.
    last_used_at: Mapped[datetime] = mapped_column(index=True)


class MatrixToken(Base):
    """An access token of a Matrix user."""

    __tablename__ = "matrix_tokens"
    __table_args__ = {"info": {"shard_by": "matrix_user_id"}, "sqlite_with_rowid": False}

    matrix_user_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: SHA-256 of the token's 256-bit secret.
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    created_at: Mapped[datetime] = mapped_column()
    last_used_at: Mapped[datetime] = mapped_column(index=True)


class MatrixSession(Base):
    """A validation session: a number under a client's secret, and its verification."""

    __tablename__ = "matrix_sessions"
    __table_args__ = {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False}

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: SHA-256 of the number's digest, the user id and the client's secret.
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    #: The second half of the verification's id.
    nonce: Mapped[bytes] = mapped_column(LargeBinary(16))
    #: The latest `send_attempt` that was answered.
    send_attempt: Mapped[int] = mapped_column(BigInteger)
    next_link: Mapped[str | None] = mapped_column(String(2000))
    updated_at: Mapped[datetime] = mapped_column(index=True)


class MatrixBinding(Base):
    """The Matrix user that an account is found as."""

    __tablename__ = "matrix_bindings"
    __table_args__ = {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False}

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(255))
    #: The account's number when it was bound.
    e164: Mapped[str] = mapped_column(String(16))
    bound_at: Mapped[datetime] = mapped_column()
