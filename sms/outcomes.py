"""What came of first sends: counted by country, channel and provider, and weighed by age.

Owns what the router learns from. Refuses everything but first choices: whom a send fell to after a
failure, or after a person waited in vain, was not drawn at random from the people who ask.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection, Executable, Integer, bindparam, case, func, select

from core.database import dialect_of, insert_into, purge, table
from sms.models import RoutingOutcome
from sms.provider import Channel
from sms.routing_file import Choice

SLOT = timedelta(minutes=5)
#: Nothing counts for longer.
SEEN = timedelta(days=1)
#: Slots of the last two hours are read one by one, older ones an hour at a time.
HOUR_SLOTS, RECENT_SLOTS = 12, 24

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OUTCOMES = table(RoutingOutcome)


class Seen(NamedTuple):
    """First sends of a provider that began in a slot, or in the hour that begins with it."""

    provider: str
    slot: int
    sends: int
    verified: int


class Evidence(NamedTuple):
    """What is known of a provider: how many verified and how many did not, discounted by age."""

    verified: float
    failed: float


NOTHING = Evidence(0.0, 0.0)


def slot_of(moment: datetime) -> int:
    """Number the five minutes that a moment lies in."""
    return (moment - _EPOCH) // SLOT


def count(
    connection: Connection,
    country: str,
    channel: str,
    provider: str,
    began: datetime,
    *,
    sends: int = 0,
    verified: int = 0,
) -> None:
    """Add to what came of a provider's sends; best last in a transaction, for many share the row."""
    connection.execute(
        _counting(dialect_of(connection)),
        {
            "country": country,
            "channel": channel,
            "provider": provider,
            "slot": slot_of(began),
            "sends": sends,
            "verified": verified,
        },
    )


@cache
def _counting(dialect: str) -> Executable:
    added = insert_into(dialect, RoutingOutcome)
    return added.on_conflict_do_update(
        index_elements=list(_OUTCOMES.primary_key.columns),
        set_={
            "sends": _OUTCOMES.c.sends + added.excluded.sends,
            "verified": _OUTCOMES.c.verified + added.excluded.verified,
        },
    )


@cache
def _reading() -> Executable:
    columns = _OUTCOMES.c
    newest = bindparam("newest", type_=Integer)
    slot = case(
        (columns.slot > newest - RECENT_SLOTS, columns.slot),
        else_=columns.slot - columns.slot % HOUR_SLOTS,
    ).label("from_slot")
    return (
        select(columns.provider, slot, func.sum(columns.sends), func.sum(columns.verified))
        .where(
            columns.country == bindparam("country"),
            columns.channel == bindparam("channel"),
            columns.slot.between(newest - SEEN // SLOT, newest),
        )
        .group_by(columns.provider, slot)
        .order_by(slot.desc())
    )


def read(connection: Connection, country: str, channel: Channel, now: datetime) -> Sequence[Seen]:
    """Give what was seen in the last day, newest first."""
    values = {"country": country, "channel": channel, "newest": slot_of(now)}
    return [Seen(*row) for row in connection.execute(_reading(), values)]


def weigh(seen: Iterable[Seen], now: datetime, choice: Choice) -> dict[str, Evidence]:
    """Discount what was seen, newest first: half for each `half_life_sends` its provider had since.

    Discounted Thompson sampling (Raj and Kalyani 2017, arXiv:1707.09727), but a provider's evidence ages
    by its own sends: who is in use is judged by what happens now, and who is not need not be tried again
    and again only to remember that others are better. A send that nobody has verified yet counts as
    failed by the share of its slot that is older than the patience (Vernade et al. 2017,
    arXiv:1706.09186, with the delay as a step).
    """
    evidence: dict[str, Evidence] = {}
    newer: Counter[str] = Counter()
    for one in seen:
        weight = 0.5 ** ((newer[one.provider] + one.sends / 2) / choice.half_life_sends)
        known = _known(one.slot, now, choice.patience_seconds)
        failed = max(0.0, known * one.sends - one.verified)
        before = evidence.get(one.provider, NOTHING)
        evidence[one.provider] = Evidence(
            before.verified + weight * one.verified, before.failed + weight * failed
        )
        newer[one.provider] += one.sends
    return evidence


def _known(slot: int, now: datetime, patience: int) -> float:
    """Give the share of a slot's sends that are older than the patience, if they came evenly."""
    elapsed = (now - _EPOCH - slot * SLOT).total_seconds()
    length = min(SLOT.total_seconds(), elapsed)
    return min(1.0, max(0.0, (elapsed - patience) / length)) if length > 0 else 0.0


def purge_outcomes(connection: Connection, now: datetime) -> int:
    """Delete a batch of outcomes whose time is over."""
    return purge(connection, RoutingOutcome, RoutingOutcome.slot < slot_of(now - SEEN))
