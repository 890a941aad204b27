"""Outcomes of first sends, counted by country, channel and provider, and weighted by age for the router.

Only a verification's first send with its first-choice provider counts. Sends after a failure, or to somebody
who waited in vain, are not a random sample of those who ask.
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
from sms.routing_file import RoutingParameters

SLOT = timedelta(minutes=5)
#: Outcomes count for this long.
WINDOW = timedelta(days=1)
#: Slots of the last two hours are read one by one, older ones an hour at a time.
SLOTS_PER_HOUR, RECENT_SLOTS = 12, 24

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OUTCOMES = table(RoutingOutcome)


class SlotOutcome(NamedTuple):
    """First sends of a provider that started in a slot, or in the hour that starts with it."""

    provider: str
    slot: int
    sends: int
    verified: int


class ConversionEvidence(NamedTuple):
    """How many sends of a provider were verified and how many were not, discounted by age."""

    verified: float
    failed: float


NO_EVIDENCE = ConversionEvidence(0.0, 0.0)


def slot_of(moment: datetime) -> int:
    """Return the number of the slot that contains a moment."""
    return (moment - _EPOCH) // SLOT


def add(
    connection: Connection,
    country: str,
    channel: str,
    provider: str,
    started_at: datetime,
    *,
    sends: int = 0,
    verified: int = 0,
) -> None:
    """Add to a provider's outcomes; call it last in a transaction, because many share the row."""
    connection.execute(
        _insert_outcome(dialect_of(connection)),
        {
            "country": country,
            "channel": channel,
            "provider": provider,
            "slot": slot_of(started_at),
            "sends": sends,
            "verified": verified,
        },
    )


@cache
def _insert_outcome(dialect: str) -> Executable:
    statement = insert_into(dialect, RoutingOutcome)
    return statement.on_conflict_do_update(
        index_elements=list(_OUTCOMES.primary_key.columns),
        set_={
            "sends": _OUTCOMES.c.sends + statement.excluded.sends,
            "verified": _OUTCOMES.c.verified + statement.excluded.verified,
        },
    )


def _select_outcomes() -> Executable:
    columns = _OUTCOMES.c
    newest = bindparam("newest", type_=Integer)
    slot = case(
        (columns.slot > newest - RECENT_SLOTS, columns.slot),
        else_=columns.slot - columns.slot % SLOTS_PER_HOUR,
    ).label("from_slot")
    return (
        select(columns.provider, slot, func.sum(columns.sends), func.sum(columns.verified))
        .where(
            columns.country == bindparam("country"),
            columns.channel == bindparam("channel"),
            columns.slot.between(newest - WINDOW // SLOT, newest),
        )
        .group_by(columns.provider, slot)
        .order_by(slot.desc())
    )


SELECT_OUTCOMES = _select_outcomes()


def read(
    connection: Connection, country: str, channel: Channel, now: datetime
) -> Sequence[SlotOutcome]:
    """Return the outcomes of the last day, newest first."""
    values = {"country": country, "channel": channel, "newest": slot_of(now)}
    return [SlotOutcome(*row) for row in connection.execute(SELECT_OUTCOMES, values)]


def weigh(
    outcomes: Iterable[SlotOutcome], now: datetime, parameters: RoutingParameters
) -> dict[str, ConversionEvidence]:
    """Discount outcomes, newest first: by half for each `half_life_sends` that its provider had since.

    Discounted Thompson sampling (Raj and Kalyani 2017, arXiv:1707.09727), but a provider's evidence ages
    by its own sends: a provider in use is measured by the present, and an idle one need not be tried again
    and again only to remember that others are better. A send that is not verified yet counts as failed by
    the share of its slot that is older than the patience (Vernade et al. 2017, arXiv:1706.09186, with the
    delay as a step).
    """
    evidence: dict[str, ConversionEvidence] = {}
    newer: Counter[str] = Counter()
    for outcome in outcomes:
        age = newer[outcome.provider] + outcome.sends / 2
        weight = 0.5 ** (age / parameters.half_life_sends)
        known = _known_share(outcome.slot, now, parameters.patience_seconds)
        failed = max(0.0, known * outcome.sends - outcome.verified)
        before = evidence.get(outcome.provider, NO_EVIDENCE)
        evidence[outcome.provider] = ConversionEvidence(
            before.verified + weight * outcome.verified, before.failed + weight * failed
        )
        newer[outcome.provider] += outcome.sends
    return evidence


def _known_share(slot: int, now: datetime, patience: int) -> float:
    """Return the share of a slot's sends that are older than the patience, if they came evenly."""
    elapsed = (now - _EPOCH - slot * SLOT).total_seconds()
    length = min(SLOT.total_seconds(), elapsed)
    return min(1.0, max(0.0, (elapsed - patience) / length)) if length > 0 else 0.0


def purge_outcomes(connection: Connection, now: datetime) -> int:
    """Delete a batch of outcomes that no longer count."""
    return purge(connection, RoutingOutcome, RoutingOutcome.slot < slot_of(now - WINDOW))
