"""The facts that rules evaluate: what the counters know of one text or call."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sms.provider import Channel

Subject = Literal[
    "number-and-requester",
    "reserve-number",
    "reserve-subnet",
    "number",
    "network",
    "subnet",
    "prefix",
    "country",
]


@dataclass(frozen=True)
class SendAttempt:
    """One text or call that a client asks for. Numbers and networks are keyed digests of 16 bytes."""

    number_digest: bytes
    verification_nonce: bytes
    network: bytes
    #: The /24 or /48 around the network; None for a service.
    subnet: bytes | None
    country: str
    prefix: str
    number_type: str
    channel: Channel
    resend: bool
    #: Whether a challenge was solved for it.
    solved: bool
    at: datetime
    #: The price of the dearest provider that may carry it, in millionths of the currency.
    price_micros: int = 0
    #: Whether it is paid from the reserve that budgets keep for known numbers.
    reserve: bool = False


@dataclass(frozen=True)
class SpanTraffic:
    """Texts and calls to a country or a prefix in an hour or a day."""

    #: Includes this one.
    sends: int
    #: Sends of verifications that were verified.
    verified: int
    #: Verified in the best of the earlier spans: 24 hours or 14 days.
    best: int
    #: Verified in the previous span, or in this one if that is more.
    last: int

    @property
    def unverified(self) -> int:
        """Sends whose code was not entered, or not yet."""
        return max(0, self.sends - self.verified)


@dataclass(frozen=True)
class RecentTraffic:
    """Recent texts and calls to a country or a prefix."""

    hour: SpanTraffic
    day: SpanTraffic


@dataclass(frozen=True)
class Facts:
    """Everything a rule may evaluate, with this attempt counted in."""

    attempt: SendAttempt
    #: Microseconds until the bucket of each subject is empty; it holds at most one over its capacity.
    levels: Mapping[Subject, int]
    country: RecentTraffic
    prefix: RecentTraffic
    #: How many sends stay unverified in this country for each verified one, over the last 14 days.
    unverified_ratio: float
    #: Unverified sends of the requester's subnet today, less the usual share; None for a service.
    suspect: float | None
    #: Distinct countries that the network asked for in the last day; 0 for a service.
    countries: int
    #: Money spent today in millionths of the currency, by budget (total, country, prefix), in the part of
    #: each budget that pays for this attempt.
    spent: Mapping[str, int]
    #: Seconds until the hour and the day end.
    hour_ends_in: int
    day_ends_in: int
