"""Every limit of the service on one screen, and the one statement that enforces each.

A limit lives in SQL so that it holds over all workers and restarts: it is counted by one conditional
upsert before anything is judged, and when the database is away the request fails (closed). A clock
that jumps back only makes a limit stricter, because all state is a time in the future.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Protocol

from sqlalchemy import (
    BigInteger,
    Connection,
    Executable,
    Index,
    LargeBinary,
    String,
    bindparam,
    case,
    delete,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base, dialect_of, insert_into, purge, table
from core.problems import Allowance

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
SENDS_BY_SERVICE = "sends-by-service"


@dataclass(frozen=True)
class Limit:
    """So many in a period, by subject.

    `refills` True: a leaky bucket, one more every period / capacity (GCRA, ITU-T I.371).
    `refills` False: a window that opens with the first and forgets all of them at its end.
    """

    name: str
    capacity: int
    period: timedelta
    refills: bool = True

    @property
    def period_us(self) -> int:
        """The period in microseconds, in which the table counts."""
        return self.period // timedelta(microseconds=1)

    @property
    def interval_us(self) -> int:
        """Microseconds in which a bucket leaks one."""
        return self.period_us // self.capacity


def _window(name: str, capacity: int, period: timedelta) -> Limit:
    return Limit(name, capacity, period, refills=False)


class LimitSettings(Protocol):
    """The settings that change a limit."""

    @property
    def camara_sends_per_day(self) -> int:
        """Codes a number and service."""

    @property
    def messages_per_minute(self) -> int:
        """Messages of an account."""

    @property
    def messages_to_one_per_minute(self) -> int:
        """Those of them to one account."""

    @property
    def messages_to_new_recipient_per_day(self) -> int:
        """Messages to an account that has not answered."""

    @property
    def new_recipients_per_day(self) -> int:
        """Such accounts."""


@dataclass(frozen=True)
class Limits:
    """All limits but those of the policy on sends, whose table is its file.

    Failure policy of each: closed, a request that cannot be counted is not served.
    """

    #: By number and service, beside the policy: 5, refilled over a day, by setting.
    sends_by_service: Limit
    #: By number, over all it writes to, by setting.
    messages: Limit
    #: By number and recipient who is in touch with it, by setting.
    messages_to_one: Limit
    #: By number and recipient who is not, by setting.
    messages_to_new_recipient: Limit
    #: By number: recipients who are not in touch with it and whom it wrote to, by setting.
    new_recipients: Limit
    #: By number: 25 in a window of a day, then its codes have 8 digits.
    wrong_codes_6_digits: Limit = Limit("wrong-codes", 25, DAY, refills=False)
    #: By number: 2,500 in the same window, then it waits.
    wrong_codes: Limit = Limit("wrong-codes", 2_500, DAY, refills=False)
    #: By account: 10, then one a day.
    pin_tries: Limit = Limit("pin-tries", 10, 10 * DAY)
    #: By number: 10, then one a day, for devices that change the lock. Apart from the tries above, or whoever
    #: stole a token could use up those of its owner.
    pin_checks: Limit = Limit("pin-checks", 10, 10 * DAY)
    #: By number: 10, refilled over an hour, for each costs a slow hash.
    pin_changes: Limit = Limit("pin-changes", 10, timedelta(hours=1))
    #: By device: 10, then one every 6 minutes, for each leaves a token that is known again for a year.
    token_rotations: Limit = Limit("token-rotations", 10, timedelta(hours=1))
    #: By network: 60, refilled over an hour, for each asks a homeserver that a stranger named.
    matrix_registrations: Limit = Limit("matrix-registrations", 60, timedelta(hours=1))
    #: By network: 60, refilled over an hour, for each asks a homeserver that a stranger named.
    matrix_key_questions: Limit = Limit("matrix-key-questions", 60, timedelta(hours=1))
    #: By device: 20, refilled over an hour, for each may hold a hundred signatures to check.
    key_uploads: Limit = Limit("key-uploads", 20, timedelta(hours=1))
    #: By taking number and account: 10, then one every 10 minutes, so that nobody drains anybody's.
    key_fetches_of_account: Limit = Limit("key-fetches-of-account", 10, timedelta(minutes=100))
    #: By taking number: 2,000, refilled over a day; the largest group has 1,024 members.
    key_fetches: Limit = Limit("key-fetches", 2_000, DAY)
    #: By number: 50, refilled over a day.
    groups_made: Limit = Limit("groups-made", 50, DAY)
    #: By number: 600, refilled over an hour, for each is told to every member.
    group_changes: Limit = Limit("group-changes", 600, timedelta(hours=1))
    #: By number: 100 invitations in a window of a day to those who are not in touch with it.
    group_invitations: Limit = Limit("group-invitations", 100, DAY, refills=False)

    @classmethod
    def from_settings(cls, settings: "LimitSettings") -> "Limits":
        """Build the table; what an operator may change is taken from the settings."""
        return cls(
            sends_by_service=Limit(SENDS_BY_SERVICE, settings.camara_sends_per_day, DAY),
            messages=_window("messages", settings.messages_per_minute, MINUTE),
            messages_to_one=_window("messages-to-one", settings.messages_to_one_per_minute, MINUTE),
            messages_to_new_recipient=_window(
                "messages-to-new-recipient", settings.messages_to_new_recipient_per_day, DAY
            ),
            new_recipients=_window("new-recipients", settings.new_recipients_per_day, DAY),
        )


class LimitCounter(Base):
    """The state of one limit for one subject; worthless once `until_us` has passed."""

    __tablename__ = "limits"
    __table_args__ = (
        Index(None, "until_us"),
        {"info": {"shard_by": "subject"}, "sqlite_with_rowid": False},
    )

    #: What stands for a number or an account, or a keyed digest of what is limited; never in clear.
    subject: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    #: Of a window: how much it has seen. Of a bucket that is poured into: what the last drop added.
    used: Mapped[int] = mapped_column(BigInteger)
    #: Microseconds since 1970: of a bucket the theoretical arrival time, of a window its end.
    until_us: Mapped[int] = mapped_column(BigInteger)


def take(
    connection: Connection, limit: Limit, subject: bytes, now: datetime
) -> tuple[bool, Allowance]:
    """Count one against a limit if it still holds one; say whether, and what is left."""
    now_us = microseconds(now)
    until_us = now_us + (limit.interval_us if limit.refills else limit.period_us)
    row = connection.execute(
        _taking(dialect_of(connection), limit),
        {"of": subject, "now_us": now_us, "first_until_us": until_us},
    ).one_or_none()
    if row is None:
        return False, peek(connection, limit, subject, now)
    return True, _allowance(limit, row.used, row.until_us, now_us)


@cache
def _taking(dialect: str, limit: Limit) -> Executable:
    """Write the statement that counts one against a limit; it returns nothing when there is no room."""
    columns = table(LimitCounter).c
    now_us = bindparam("now_us", type_=BigInteger)
    first = insert_into(dialect, LimitCounter).values(
        subject=bindparam("of"), name=limit.name, used=1, until_us=bindparam("first_until_us")
    )
    if limit.refills:
        base = case((columns.until_us > now_us, columns.until_us), else_=now_us)
        changes = {"until_us": base + limit.interval_us}
        room = base + limit.interval_us <= now_us + limit.period_us
    else:
        over = columns.until_us <= now_us
        changes = {
            "used": case((over, 1), else_=columns.used + 1),
            "until_us": case((over, now_us + limit.period_us), else_=columns.until_us),
        }
        room = over | (columns.used < limit.capacity)
    return first.on_conflict_do_update(
        index_elements=["subject", "name"], set_=changes, where=room
    ).returning(columns.used, columns.until_us)


_PEEKING = select(table(LimitCounter).c.used, table(LimitCounter).c.until_us).where(
    table(LimitCounter).c.subject == bindparam("of"), table(LimitCounter).c.name == bindparam("by")
)


def peek(connection: Connection, limit: Limit, subject: bytes, now: datetime) -> Allowance:
    """Say what a limit has left without counting anything."""
    row = connection.execute(_PEEKING, {"of": subject, "by": limit.name}).one_or_none()
    if row is None:
        return Allowance(limit.name, limit.capacity, _seconds(limit), limit.capacity, 0)
    return _allowance(limit, row.used, row.until_us, microseconds(now))


def give_back(connection: Connection, limit: Limit, subject: bytes) -> None:
    """Undo one `take`, because what it paid for turned out not to count."""
    connection.execute(_returning(limit), {"of": subject})


@cache
def _returning(limit: Limit) -> Executable:
    counters = table(LimitCounter)
    change = (
        {"until_us": counters.c.until_us - limit.interval_us}
        if limit.refills
        else {"used": counters.c.used - 1}
    )
    return (
        update(counters)
        .where(counters.c.subject == bindparam("of"), counters.c.name == limit.name)
        .values(change)
    )


def forget(connection: Connection, limit: Limit, subject: bytes) -> None:
    """Reset a limit for a subject, as a right PIN does."""
    connection.execute(
        delete(LimitCounter).where(LimitCounter.subject == subject, LimitCounter.name == limit.name)
    )


def carry_over(connection: Connection, names: tuple[str, ...], digests: list[bytes]) -> None:
    """Move counters to a subject's digest under the current secret while secrets are rotated.

    `digests` is current first. Without this a rotation would hand everyone fresh limits.
    """
    current, *previous = digests
    for old in previous:
        taken = select(LimitCounter.name).where(LimitCounter.subject == current)
        connection.execute(
            update(LimitCounter)
            .where(
                LimitCounter.subject == old,
                LimitCounter.name.in_(names),
                LimitCounter.name.not_in(taken),
            )
            .values(subject=current)
        )


def purge_limits(connection: Connection, now: datetime) -> int:
    """Delete a batch of counters that no longer limit anything."""
    return purge(connection, LimitCounter, LimitCounter.until_us < microseconds(now))


def _allowance(limit: Limit, used: int, until_us: int, now_us: int) -> Allowance:
    if limit.refills:
        room = now_us + limit.period_us - max(until_us, now_us)
        left = max(0, room // limit.interval_us)
        wait_us = limit.interval_us - room
    else:
        left = limit.capacity if until_us <= now_us else max(0, limit.capacity - used)
        wait_us = until_us - now_us
    wait = 0 if left > 0 else -(-wait_us // 1_000_000)
    return Allowance(limit.name, limit.capacity, _seconds(limit), left, wait)


def _seconds(limit: Limit) -> int:
    return round(limit.period.total_seconds())


def microseconds(moment: datetime) -> int:
    """Give a moment as the table counts it: microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
