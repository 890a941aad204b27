"""Tables of the policy: decisions, refusals, traffic, proven numbers, countries of networks, challenges."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Decision(Base):
    """The decision on one text or call, and the results of the rules."""

    __tablename__ = "decisions"
    __table_args__ = (
        Index(None, "created_at"),
        {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False},
    )

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: The nonce of the verification's id; of a refused start, of the id it would have had.
    verification_nonce: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    id: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: Keyed digests of the requester's network and subnet; a service has no subnet.
    network: Mapped[bytes] = mapped_column(LargeBinary(16))
    subnet: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    country: Mapped[str] = mapped_column(String(3))
    #: E.164 without its last four digits.
    prefix: Mapped[str] = mapped_column(String(16))
    number_type: Mapped[str] = mapped_column(String(24))
    channel: Mapped[str] = mapped_column(String(8))
    resend: Mapped[bool] = mapped_column()
    #: The price reserved for it, in millionths of the currency.
    price_micros: Mapped[int] = mapped_column(BigInteger)
    #: Whether a challenge was solved for it.
    solved: Mapped[bool] = mapped_column()
    #: Whether it was paid from the reserve of budgets.
    reserve: Mapped[bool] = mapped_column(server_default=false())
    #: allow; in rows from before the table of refusals also challenge and deny.
    verdict: Mapped[str] = mapped_column(String(10))
    #: The rule that decided; None if no rule was against it.
    rule: Mapped[str | None] = mapped_column(String(40))
    #: JSON: the result of each rule, in their order.
    rule_results: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column()
    verified_at: Mapped[datetime | None] = mapped_column()


class Refusal(Base):
    """How often one rule refused one subject in one minute.

    Refused requests add to a count and not to the rows: all that a list denies is one subject, and the
    subjects of other rules were filled by sends. A column in which the requests differ is NULL.
    """

    __tablename__ = "refusals"
    __table_args__ = (
        Index(None, "minute"),
        {"info": {"shard_by": "subject"}, "sqlite_with_rowid": False},
    )

    #: Digest of what is over its limit, and of the verdict.
    subject: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    rule: Mapped[str] = mapped_column(String(40), primary_key=True)
    #: Minutes since 1970.
    minute: Mapped[int] = mapped_column(primary_key=True)
    country: Mapped[str | None] = mapped_column(String(3))
    channel: Mapped[str | None] = mapped_column(String(8))
    resend: Mapped[bool | None] = mapped_column()
    #: challenge or deny.
    verdict: Mapped[str] = mapped_column(String(10))
    requests: Mapped[int] = mapped_column(BigInteger)
    #: How many requests had a solved challenge.
    solved: Mapped[int] = mapped_column(BigInteger)
    number_digest: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    network: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    subnet: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    prefix: Mapped[str | None] = mapped_column(String(16))
    #: Whether the first request was a service's, which has no subnet.
    service: Mapped[bool] = mapped_column()
    #: Of the first request, like the price in millionths of the currency and the results of the rules that
    #: were against it.
    number_type: Mapped[str] = mapped_column(String(24))
    price_micros: Mapped[int] = mapped_column(BigInteger)
    rule_results: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column()
    last_at: Mapped[datetime] = mapped_column()


class ProvenNumber(Base):
    """A number that was verified in the last year; budgets keep a reserve for it."""

    __tablename__ = "proven_numbers"
    __table_args__ = (
        Index(None, "proven_at"),
        {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False},
    )

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    proven_at: Mapped[datetime] = mapped_column()


class Traffic(Base):
    """Sends and verified sends to a country or a prefix, or from a subnet."""

    __tablename__ = "traffic"
    __table_args__ = (
        Index(None, "span", "start"),
        {"info": {"shard_by": "scope"}, "sqlite_with_rowid": False},
    )

    #: ISO 3166 region, a prefix with its plus, or 16 characters of a subnet's digest.
    scope: Mapped[str] = mapped_column(String(16), primary_key=True)
    #: h (hour), d (day) or n (day of a subnet).
    span: Mapped[str] = mapped_column(String(1), primary_key=True)
    #: Hours or days since 1970.
    start: Mapped[int] = mapped_column(primary_key=True)
    sends: Mapped[int] = mapped_column(default=0)
    #: Sends of verifications that were verified.
    verified: Mapped[int] = mapped_column(default=0)


class NetworkCountry(Base):
    """A country whose numbers a network asked for in the last day."""

    __tablename__ = "network_countries"
    __table_args__ = (
        Index(None, "until"),
        {"info": {"shard_by": "network"}, "sqlite_with_rowid": False},
    )

    #: Keyed digest of the network.
    network: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    country: Mapped[str] = mapped_column(String(3), primary_key=True)
    until: Mapped[datetime] = mapped_column()


class SpentChallenge(Base):
    """A challenge whose solution was spent; it lets one send through."""

    __tablename__ = "spent_challenges"
    __table_args__ = (
        Index(None, "expires_at"),
        {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False},
    )

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    nonce: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column()
