"""What the rules are told about one text or call; they know nothing else and change nothing.

Owns the vocabulary between the counters, which find facts, and the rules, which judge them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sms.provider import Channel

Subject = Literal[
    "number-and-requester",
    "reserve-number",
    "reserve-wider-network",
    "number",
    "network",
    "wider-network",
    "prefix",
    "country",
]


@dataclass(frozen=True)
class Attempt:
    """One text or call that somebody asks for. Numbers and networks are keyed digests, 16 bytes."""

    number_digest: bytes
    verification: bytes
    network: bytes
    #: The /24 or /48 around it; None when the requester is a service.
    wider: bytes | None
    country: str
    prefix: str
    number_type: str
    channel: Channel
    resend: bool
    #: Whether a challenge was solved for it.
    solved: bool
    at: datetime
    #: What the dearest provider that may carry it would take, in millionths of the currency.
    price_micros: int = 0
    #: Whether it is paid from what budgets keep for known numbers.
    reserve: bool = False


@dataclass(frozen=True)
class Span:
    """An hour or a day of a country or a prefix; counts are of texts and calls."""

    #: This one included.
    sends: int
    #: Those whose verification was verified.
    verified: int
    #: Verified in the best of the spans before: 14 days, 24 hours.
    best: int
    #: Verified in the span before, or in this one if it is more by now.
    last: int

    @property
    def unverified(self) -> int:
        """Count those whose code was not typed in, or not yet."""
        return max(0, self.sends - self.verified)


@dataclass(frozen=True)
class Record:
    """What went to a country or a prefix lately."""

    hour: Span
    day: Span


@dataclass(frozen=True)
class Facts:
    """Everything the rules may judge by, with this attempt counted in."""

    attempt: Attempt
    #: Microseconds until the bucket of each subject is empty; it holds at most one over its capacity.
    levels: Mapping[Subject, int]
    country: Record
    prefix: Record
    #: How many stay unverified in this country for each that is verified, over the last 14 days.
    usual: float
    #: Texts of the requester's wider network today that nobody typed in, beyond what usually stays so;
    #: None for a service.
    suspect: float | None
    #: Distinct countries that the network asked for in the last day; 0 for a service.
    countries: int
    #: Millionths of the currency that are spent today, by budget: total, country, prefix; of the part
    #: of each that this attempt is paid from.
    spent: Mapping[str, int]
    #: Seconds until the hour and the day end, as the counters see them.
    hour_ends_in: int
    day_ends_in: int
