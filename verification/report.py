"""The conversion report: verifications by stage, their speed and cost, from the tables of sends and refusals.

Everything but money counts verifications. The database computes it over the rows of the period alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Float,
    Select,
    String,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)

from core.database import dialect_of, table
from sms.delivery import NEVER_SENT
from sms.models import Send
from verification.policy.models import Decision, Refusal
from verification.policy.refusals import minute_of
from verification.policy.rules import MICROS

Dimension = Literal["country", "prefix", "provider"]
DIMENSIONS: tuple[Dimension, ...] = ("country", "prefix", "provider")

_SENDS = table(Send).c
_DECISIONS = table(Decision).c
_REFUSALS = table(Refusal).c


@dataclass(frozen=True)
class ReportRow:
    """The figures of one group: a country, prefix, provider or combination of them; or of all."""

    #: By dimension. The provider is None for refusals, and the prefix for refusals of several prefixes.
    group: dict[str, str | None]
    #: Requested starts; a solved challenge counts twice.
    started: int
    challenged: int
    denied: int
    #: Accepted by a provider: at least one text or call did not certainly fail.
    sent: int
    #: Confirmed by the provider.
    delivered: int
    verified: int
    #: Median of the seconds from the first text or call to the right code.
    median_seconds: float | None
    #: Price of all texts and calls, in millionths of the currency.
    money_micros: int

    @property
    def conversion(self) -> float | None:
        """Verified ÷ sent; None if nothing was sent."""
        return self.verified / self.sent if self.sent else None

    @property
    def price(self) -> float | None:
        """Money per verified number; None if there is none."""
        return self.money_micros / MICROS / self.verified if self.verified else None

    def document(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        figures = asdict(self)
        return {
            **figures.pop("group"),
            **figures,
            "conversion": self.conversion,
            "price_of_a_verified_number": self.price,
        }


@dataclass(frozen=True)
class Report:
    """The groups with most starts first, how many more there are, and the total of all."""

    rows: Sequence[ReportRow]
    more: int
    total: ReportRow


def report(
    connection: Connection,
    since: datetime,
    by: Sequence[Dimension],
    *,
    country: str | None = None,
    limit: int,
) -> Report:
    """Return the figures of verifications started at `since` or later, at most `limit` groups."""
    dialect = dialect_of(connection)
    statement = _select_rows(dialect, since, by, country)
    rows = connection.execute(statement.limit(limit)).all()
    groups = rows[0].groups if rows else 0
    total = connection.execute(_select_rows(dialect, since, (), country)).one()
    return Report([_row(row, by) for row in rows], groups - len(rows), _row(total, ()))


def _row(row: Any, by: Sequence[Dimension]) -> ReportRow:
    return ReportRow(
        {name: getattr(row, name) for name in by},
        int(row.started or 0),
        int(row.challenged or 0),
        int(row.denied or 0),
        row.sent or 0,
        row.delivered or 0,
        row.verified or 0,
        None if row.median_seconds is None else float(row.median_seconds),
        int(row.money_micros or 0),
    )


def _select_rows(
    dialect: str, since: datetime, by: Sequence[Dimension], country: str | None
) -> Select[Any]:
    """Return the statement that sums the starts of each group, those with most starts first."""
    starts = _ranked(dialect, since, by, country)
    columns = starts.c
    # The median: the one or two in the middle of the verified ones, ordered by seconds.
    middle = (columns.place * 2).between(columns.of_all, columns.of_all + 2)
    in_the_middle = and_(columns.verified == 1, middle)
    started = func.sum(columns.starts).label("started")
    return (
        select(
            *(columns[name] for name in by),
            started,
            *(
                func.sum(columns[name]).label(name)
                for name in (
                    "challenged",
                    "denied",
                    "sent",
                    "delivered",
                    "verified",
                    "money_micros",
                )
            ),
            func.avg(case((in_the_middle, columns.seconds))).label("median_seconds"),
            func.count().over().label("groups"),
        )
        .group_by(*(columns[name] for name in by))
        .order_by(started.desc(), *(columns[name] for name in by))
    )


def _ranked(dialect: str, since: datetime, by: Sequence[Dimension], country: str | None) -> CTE:
    """Select each start, with its place among the verified ones of its group."""
    starts = union_all(
        select(_sent(dialect, since, country)),
        select(_refused_singly(since, country)),
        select(_refused(since, country)),
    ).cte("starts")
    group = [*(starts.c[name] for name in by), starts.c.verified]
    return select(
        *starts.c,
        func.row_number().over(partition_by=group, order_by=starts.c.seconds).label("place"),
        func.count().over(partition_by=group).label("of_all"),
    ).cte("ranked")


def _sent(dialect: str, since: datetime, country: str | None) -> CTE:
    """Select each verification whose first send was queued in the period.

    Its provider is that of its first text or call that did not certainly fail; if all did, the first.
    """
    # Selected first and by themselves, or SQLite would read the whole table in the order of its key.
    recent = (
        select(
            _SENDS.number_digest,
            _SENDS.verification_nonce,
            _SENDS.country,
            _SENDS.prefix,
            _SENDS.provider,
            _SENDS.first,
            _SENDS.price_micros,
            _SENDS.created_at,
            _SENDS.verified_at,
            _flag(NEVER_SENT).label("never_sent"),
            _flag(_SENDS.status == "delivered").label("delivered"),
        )
        .where(*_conditions(_SENDS, since, country))
        .cte("recent")
        .prefix_with("MATERIALIZED")
    )
    verification = (recent.c.number_digest, recent.c.verification_nonce)
    order = (recent.c.never_sent, recent.c.created_at)
    carrier = func.first_value(recent.c.provider).over(partition_by=verification, order_by=order)
    each = select(*recent.c, carrier.label("carrier")).cte("each_send").c
    verified_at = func.max(each.verified_at)
    return (
        select(
            func.max(each.country).label("country"),
            func.max(each.prefix).label("prefix"),
            func.max(each.carrier).label("provider"),
            literal(1).label("starts"),
            literal(0).label("challenged"),
            literal(0).label("denied"),
            (1 - func.min(each.never_sent)).label("sent"),
            func.max(each.delivered).label("delivered"),
            _flag(verified_at.is_not(None)).label("verified"),
            _seconds(dialect, func.min(each.created_at), verified_at).label("seconds"),
            func.sum(each.price_micros).label("money_micros"),
        )
        .group_by(each.number_digest, each.verification_nonce)
        # A resend of a verification from before the period is no start.
        .having(func.max(_flag(each.first)) == 1)
        .cte("sent")
    )


def _refused(since: datetime, country: str | None) -> CTE:
    """Select the starts that a rule of the policy refused in each minute of the period."""
    return _refusals(
        _REFUSALS,
        _REFUSALS.requests,
        _REFUSALS.minute >= minute_of(since),
        *_conditions(_REFUSALS, since, country),
        # Of a minute with starts and resends it is unknown how many were starts; all count as starts.
        _REFUSALS.resend.is_not(True),
    ).cte("refused")


def _refused_singly(since: datetime, country: str | None) -> CTE:
    """Select each start that was refused before refusals were counted by the minute."""
    return _refusals(
        _DECISIONS,
        literal(1),
        *_conditions(_DECISIONS, since, country),
        or_(_DECISIONS.verdict == "challenge", _DECISIONS.verdict == "deny"),
        ~_DECISIONS.resend,
    ).cte("refused_singly")


def _refusals(
    columns: Any, starts: ColumnElement[int], *conditions: ColumnElement[bool]
) -> Select[Any]:
    challenged = columns.verdict == "challenge"
    return select(
        columns.country,
        columns.prefix,
        cast(null(), String).label("provider"),
        starts.label("starts"),
        case((challenged, starts), else_=0).label("challenged"),
        case((challenged, 0), else_=starts).label("denied"),
        literal(0).label("sent"),
        literal(0).label("delivered"),
        literal(0).label("verified"),
        cast(null(), Float).label("seconds"),
        literal(0).label("money_micros"),
    ).where(*conditions)


def _conditions(columns: Any, since: datetime, country: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [columns.created_at >= since]
    if country:
        conditions.append(columns.country == country)
    return conditions


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _seconds(
    dialect: str, began: ColumnElement[datetime], ended: ColumnElement[datetime]
) -> ColumnElement[float]:
    """Return the seconds between two moments, in the dialect of the database."""
    if dialect == "sqlite":
        return cast((func.julianday(ended) - func.julianday(began)) * 86_400, Float)
    return cast(func.extract("epoch", ended - began), Float)
