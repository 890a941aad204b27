"""Refusals: how often a rule refused one subject in a minute, in one row.

Refused requests are free, so they must not add a row each. The subject is what was filled with sends: a
number, a network, a prefix or a country. All that a list denies is one subject, and so are all prefixes and
countries without a send today; otherwise a requester that tries them all would add a row for each.
"""

import hashlib
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection, Executable, bindparam, case, select
from sqlalchemy.sql.elements import ColumnElement

from core.base64url import encode
from core.clock import EPOCH, MINUTE
from core.database import dialect_of, find_all, insert_into, purge, table
from verification.policy.counters import public_subject, sends_subject
from verification.policy.facts import Facts
from verification.policy.models import Refusal
from verification.policy.rules import Rule

RETENTION = timedelta(days=30)
_ROWS = table(Refusal)
#: Columns that are NULL once two requests differ in them.
_SHARED = ("number_digest", "network", "subnet", "prefix", "country", "channel", "resend")
_RULE_BYTES, _MINUTE_BYTES = 12, 4
#: The largest value of the column; four bytes of another id may hold more.
_MAX_MINUTE = 2**31 - 1


class RefusalKey(NamedTuple):
    """The key of a row; the answer to a refused request names it as its `decision`."""

    subject: bytes
    rule: str
    minute: int

    @property
    def id(self) -> str:
        """The id in answers and commands, as long as a verification's id."""
        minute = self.minute.to_bytes(_MINUTE_BYTES, "big")
        return encode(self.subject + _rule_digest(self.rule) + minute)


def record_refusal(
    connection: Connection, rule: Rule, verdict: str, facts: Facts, rule_results: str
) -> RefusalKey:
    """Count a refusal and return the key of its row; `rule_results` of the first one are kept."""
    attempt = facts.attempt
    subject = hashlib.sha256(_limited(rule, facts) + verdict.encode()).digest()[:16]
    key = RefusalKey(subject, rule.label, minute_of(attempt.at))
    connection.execute(
        _insert_refusal(dialect_of(connection)),
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
            "subnet": attempt.subnet,
            "prefix": attempt.prefix,
            "service": attempt.subnet is None,
            "number_type": attempt.number_type,
            "price_micros": attempt.price_micros,
            "rule_results": rule_results,
            "created_at": attempt.at,
            "last_at": attempt.at,
        },
    )
    return key


@cache
def _insert_refusal(dialect: str) -> Executable:
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


def _limited(rule: Rule, facts: Facts) -> bytes:
    """Return what is over the rule's limit."""
    attempt = facts.attempt
    match rule.subject:
        case "number":
            return attempt.number_digest
        case "number-and-requester":
            return sends_subject(attempt.number_digest, attempt.network)
        case "network":
            return attempt.network
        case "subnet":
            return attempt.subnet or attempt.network
        case "prefix" if facts.prefix.day.sends > 1:
            return public_subject(attempt.prefix)
        case "country" if facts.country.day.sends > 1:
            return public_subject(attempt.country)
    return public_subject("")


def minute_of(at: datetime) -> int:
    """Return the minute of a moment, counted from 1970."""
    return (at - EPOCH) // MINUTE


def _rule_digest(rule: str) -> bytes:
    return hashlib.sha256(rule.encode()).digest()[:_RULE_BYTES]


SELECT_REFUSALS = select(*_ROWS.columns).where(
    _ROWS.c.subject == bindparam("subject"), _ROWS.c.minute == bindparam("minute")
)


def find_refusal(connection: Connection, decision: bytes) -> list[Refusal]:
    """Return the row that a `decision` of 32 bytes names; empty if it names something else."""
    minute = int.from_bytes(decision[-_MINUTE_BYTES:], "big")
    if minute > _MAX_MINUTE:
        return []
    rows = find_all(
        connection, Refusal, SELECT_REFUSALS.params(subject=decision[:16], minute=minute)
    )
    digest = decision[16 : 16 + _RULE_BYTES]
    return [row for row in rows if _rule_digest(row.rule) == digest]


def refusals_matching(
    connection: Connection, country: str, prefix: str, since: datetime
) -> list[Refusal]:
    """Return refusals since a moment that may concern a number, oldest first.

    Those are the rows of its country and prefix, or of several.
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
    """Delete a batch of refusals whose retention is over."""
    return purge(connection, Refusal, Refusal.minute < minute_of(now - RETENTION))
