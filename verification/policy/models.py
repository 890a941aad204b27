"""Tables of the policy: decisions, refusals, traffic, known numbers, countries of networks, challenges."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Decision(Base):
    """What the policy said of one text or call, and the figures it said it by."""

    __tablename__ = "decisions"
    __table_args__ = (
        Index(None, "created_at"),
        {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False},
    )

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: The second half of the verification's id; of a refused start, of the id it would have had.
    verification: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    id: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    #: Keyed digests of the requester's network and of the wider one; a service has no wider one.
    network: Mapped[bytes] = mapped_column(LargeBinary(16))
    wider: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    country: Mapped[str] = mapped_column(String(3))
    #: E.164 without its last four digits.
    prefix: Mapped[str] = mapped_column(String(16))
    number_type: Mapped[str] = mapped_column(String(24))
    channel: Mapped[str] = mapped_column(String(8))
    resend: Mapped[bool] = mapped_column()
    #: What was reserved for it, in millionths of the currency.
    price_micros: Mapped[int] = mapped_column(BigInteger)
    #: Whether a challenge was solved for it.
    solved: Mapped[bool] = mapped_column()
    #: Whether it was paid from what budgets keep for known numbers.
    reserve: Mapped[bool] = mapped_column(server_default=false())
    #: allow; before refusals had a table of their own, challenge and deny too.
    verdict: Mapped[str] = mapped_column(String(10))
    #: The rule that decided; None when none had anything against it.
    rule: Mapped[str | None] = mapped_column(String(40))
    #: JSON: a list of what each rule found, in their order.
    findings: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column()
    verified_at: Mapped[datetime | None] = mapped_column()


class Refusal(Base):
    """How often a rule refused, in one minute, what has one subject.

    Who asks for refused texts adds to a count and no rows: a list is one subject, and the subjects of
    other rules were filled with texts that were sent. A column that differs among the requests is NULL.
    """

    __tablename__ = "refusals"
    __table_args__ = (
        Index(None, "minute"),
        {"info": {"shard_by": "subject"}, "sqlite_with_rowid": False},
    )

    #: Digest of what the rule found full, and the verdict.
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
    #: How many of them brought a solved challenge.
    solved: Mapped[int] = mapped_column(BigInteger)
    number_digest: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    network: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    wider: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    prefix: Mapped[str | None] = mapped_column(String(16))
    #: Whether the first was a service's, which has no wider network.
    service: Mapped[bool] = mapped_column()
    #: Of the first request, like what the rules found that had something against it, and the price in
    #: millionths of the currency.
    number_type: Mapped[str] = mapped_column(String(24))
    price_micros: Mapped[int] = mapped_column(BigInteger)
    findings: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column()
    last_at: Mapped[datetime] = mapped_column()


class ProvenNumber(Base):
    """A number that was verified, and when last; budgets keep a share for those."""

    __tablename__ = "proven_numbers"
    __table_args__ = (
        Index(None, "proven_at"),
        {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False},
    )

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    proven_at: Mapped[datetime] = mapped_column()


class Traffic(Base):
    """How much went to a country, a prefix or from a network, and how much of it was verified."""

    __tablename__ = "traffic"
    __table_args__ = (
        Index(None, "span", "start"),
        {"info": {"shard_by": "scope"}, "sqlite_with_rowid": False},
    )

    #: ISO 3166 region, a prefix with its plus, or 16 characters that stand for a wider network.
    scope: Mapped[str] = mapped_column(String(16), primary_key=True)
    #: h or d; n is the day of a network.
    span: Mapped[str] = mapped_column(String(1), primary_key=True)
    #: Hours or days since 1970.
    start: Mapped[int] = mapped_column(primary_key=True)
    sends: Mapped[int] = mapped_column(default=0)
    #: Sends of verifications that were verified.
    verified: Mapped[int] = mapped_column(default=0)


class NetworkCountry(Base):
    """A country whose numbers a network asked for lately."""

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
    """A challenge whose solution let somebody through, which it does once."""

    __tablename__ = "spent_challenges"
    __table_args__ = (
        Index(None, "expires_at"),
        {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False},
    )

    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    nonce: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column()
