"""Tables of sends, of delivery reports and routing outcomes, and of the mock provider's outbox."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Send(Base):
    """One text or call sent through a provider, and its delivery status."""

    __tablename__ = "sends"
    __table_args__ = (
        Index(None, "created_at"),
        {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False},
    )

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    id: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: The nonce of the verification's id.
    verification_nonce: Mapped[bytes] = mapped_column(LargeBinary(16))
    channel: Mapped[str] = mapped_column(String(8))
    provider: Mapped[str] = mapped_column(String(32))
    #: Country of the number, ISO 3166 or "001", and the number without its last four digits.
    country: Mapped[str] = mapped_column(String(3))
    prefix: Mapped[str] = mapped_column(String(12))
    #: Whether it is the router's first choice for the first send of a verification.
    first: Mapped[bool] = mapped_column()
    #: Price in millionths of the routing file's currency; 0 if certainly nothing was sent.
    price_micros: Mapped[int] = mapped_column(BigInteger)
    #: queued, unknown, sent, then one of delivered, undelivered, failed; never backwards.
    status: Mapped[str] = mapped_column(String(16))
    provider_message_id: Mapped[str | None] = mapped_column(String(64))
    error_code: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column()
    updated_at: Mapped[datetime] = mapped_column()
    #: When the code was entered, on the one send that most likely delivered it.
    verified_at: Mapped[datetime | None] = mapped_column()


class RoutingOutcome(Base):
    """First sends of a provider to a country in five minutes, and how many were verified."""

    __tablename__ = "routing_outcomes"
    __table_args__ = (
        Index(None, "slot"),
        {"info": {"shard_by": "country"}, "sqlite_with_rowid": False},
    )

    country: Mapped[str] = mapped_column(String(3), primary_key=True)
    channel: Mapped[str] = mapped_column(String(8), primary_key=True)
    #: The five minutes in which the sends started, counted from 1970.
    slot: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    provider: Mapped[str] = mapped_column(String(32), primary_key=True)
    sends: Mapped[int] = mapped_column(Integer)
    verified: Mapped[int] = mapped_column(Integer)


class OutboxMessage(Base):
    """A message of the mock provider; development only."""

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "to", "id"), {"info": {"shard_by": None}})

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    to: Mapped[str] = mapped_column(String(16))
    body: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(String(8))
    sent_at: Mapped[datetime] = mapped_column(index=True)


class TakenReport(Base):
    """A signed delivery report that was processed; it is not processed again."""

    __tablename__ = "taken_reports"
    __table_args__ = {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False}

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: SHA-256 of what was signed.
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    taken_at: Mapped[datetime] = mapped_column(index=True)


class SmppMessage(Base):
    """The send behind an SMSC's message id, which is all that receipts name.

    Written by whichever comes first on any worker's bind: the response to the submit or a receipt.
    """

    __tablename__ = "smpp_messages"
    __table_args__ = (
        Index(None, "created_at"),
        {"info": {"shard_by": "message_id"}, "sqlite_with_rowid": False},
    )

    message_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    #: The send; NULL while only a receipt has arrived.
    number_digest: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    send_id: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    #: Status of the receipts so far; never backwards.
    status: Mapped[str | None] = mapped_column(String(16))
    error_code: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column()
