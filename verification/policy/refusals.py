"""Refusals: how often a rule refused in a minute, in one row for all that have one subject.

Refused requests cost nothing, so each must not cost a row. The subject is what was filled with texts that
were sent: a number, a network, a prefix, a country. All that a list refuses is one subject, and so is a
prefix or a country that nothing was sent to today, or somebody who tries them all would have a row for each.
"""

import hashlib
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple, cast

from sqlalchemy import Connection, Executable, bindparam, case, select
from sqlalchemy.sql.elements import ColumnElement

from core.base64url import encode
from core.clock import EPOCH, MINUTE
from core.database import dialect_of, find_all, insert_into, purge, table
from verification.policy.counters import named, sends_subject
from verification.policy.facts import Facts
from verification.policy.models import Refusal
from verification.policy.rules import Rule

RETENTION = timedelta(days=30)
_ROWS = table(Refusal)
#: What is NULL once two requests differ in it.
_SHARED = (
    "number_digest",
    "network",
    "wider",
    "prefix",
    "country",
    "channel",
    "resend",
)
_RULE_BYTES, _MINUTE_BYTES = 12, 4
#: What the column holds; the name of something else may say more.
_LAST_MINUTE = 2**31 - 1


class RefusalKey(NamedTuple):
    """What finds a row; the answer to a refused request names it as its `decision`."""

    subject: bytes
    rule: str
    minute: int

    @property
    def id(self) -> str:
        """The name that answers and operators use, as long as a verification's id."""
        minute = self.minute.to_bytes(_MINUTE_BYTES, "big")
        return encode(self.subject + _rule_digest(self.rule) + minute)


def refuse(
    connection: Connection, rule: Rule, verdict: str, facts: Facts, findings: str
) -> RefusalKey:
    """Count a refusal; give what finds its row. `findings` are kept of the first."""
    attempt = facts.attempt
    key = RefusalKey(
        _subject(_filled(rule, facts), verdict),
        rule.label,
        minute_of(attempt.at),
    )
    connection.execute(
        _counting(dialect_of(connection)),
        {
            **key._asdict(),
            "country": attempt.country,
            "channel": attempt.channel,
            "resend": attempt.resend,
            "verdict": verdict,
            "requests": 1,
            "solved": int(attempt.solved),
            "number_digest": attempt.number_digest,
            "network": attempt.network,
            "wider": attempt.wider,
            "prefix": attempt.prefix,
            "service": attempt.wider is None,
            "number_type": attempt.number_type,
            "price_micros": attempt.price_micros,
            "findings": findings,
            "created_at": attempt.at,
            "last_at": attempt.at,
        },
    )
    return key


@cache
def _counting(dialect: str) -> Executable:
    statement = insert_into(dialect, Refusal)
    new = statement.excluded
    shared: dict[str, ColumnElement[object]] = {
        name: case((_ROWS.c[name] == new[name], _ROWS.c[name])) for name in _SHARED
    }
    return statement.on_conflict_do_update(
        index_elements=["subject", "rule", "minute"],
        set_={
            "requests": _ROWS.c.requests + 1,
            "solved": _ROWS.c.solved + new.solved,
            "last_at": new.last_at,
            **shared,
        },
    )


def _filled(rule: Rule, facts: Facts) -> bytes:
    """Name what the rule found full."""
    attempt = facts.attempt
    match rule.subject:
        case "number":
            return attempt.number_digest
        case "number-and-requester":
            return sends_subject(attempt.number_digest, attempt.network)
        case "network":
            return attempt.network
        case "wider-network":
            return attempt.wider or attempt.network
        case "prefix" if facts.prefix.day.sends > 1:
            return named(attempt.prefix)
        case "country" if facts.country.day.sends > 1:
            return named(attempt.country)
    return named("")


def _subject(filled: bytes, verdict: str) -> bytes:
    return hashlib.sha256(filled + verdict.encode()).digest()[:16]


def minute_of(at: datetime) -> int:
    """Give the minute of a moment, counted from 1970."""
    return (at - EPOCH) // MINUTE


def begins(minute: int) -> datetime:
    """Give the moment that a minute begins at."""
    return EPOCH + minute * MINUTE


def _rule_digest(rule: str) -> bytes:
    return hashlib.sha256(rule.encode()).digest()[:_RULE_BYTES]


_NAMED = select(*_ROWS.columns).where(
    _ROWS.c.subject == bindparam("of"), _ROWS.c.minute == bindparam("at")
)


def find(connection: Connection, name: bytes) -> list[Refusal]:
    """Find the row that a `decision` of 32 bytes names; none where it names something else."""
    minute = int.from_bytes(name[-_MINUTE_BYTES:], "big")
    if minute > _LAST_MINUTE:
        return []
    values = {"of": name[:16], "at": minute}
    rule = name[16 : 16 + _RULE_BYTES]
    rows = cast(list[Refusal], list(connection.execute(_NAMED, values)))
    return [row for row in rows if _rule_digest(row.rule) == rule]


def about(connection: Connection, country: str, prefix: str, since: datetime) -> list[Refusal]:
    """Find what was refused at a moment or after it that may have been of a number, oldest first.

    Those are the refusals that were of its country and prefix, or of several.
    """
    statement = (
        select(*_ROWS.columns)
        .where(
            _ROWS.c.minute >= minute_of(since),
            _ROWS.c.country.is_(None) | (_ROWS.c.country == country),
            _ROWS.c.prefix.is_(None) | (_ROWS.c.prefix == prefix),
        )
        .order_by(_ROWS.c.minute, _ROWS.c.subject, _ROWS.c.rule)
    )
    return find_all(connection, Refusal, statement)


def purge_refusals(connection: Connection, now: datetime) -> int:
    """Delete a batch of refusals whose time is over."""
    return purge(connection, Refusal, Refusal.minute < minute_of(now - RETENTION))
