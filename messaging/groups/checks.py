"""What is refused to whoever makes, changes or joins a group, each rule once.

Refuses to tell whoever is not in a group that it exists.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.problems import InvalidFields
from core.rate_limits import RateLimit, consume
from messaging.groups import membership
from messaging.groups.invitations import MAX_GROUPS
from messaging.groups.membership import GroupView, MemberState
from messaging.groups.problems import (
    AccountsUnknown,
    GroupNotFound,
    GroupRateLimited,
    TooManyGroups,
)
from tokens.accounts import lock_existing_accounts
from tokens.devices import Caller
from tokens.problems import TokenInvalid


def count_against(connection: Connection, limit: RateLimit, caller: Caller, now: datetime) -> None:
    """Count one against a limit of the caller; it counts for nothing when the rest is refused.

    Raises GroupRateLimited.
    """
    allowed, status = consume(connection, limit, caller.subject, now)
    if not allowed:
        raise GroupRateLimited("Nothing happened; come back later.", rate_limit=status)


def read_visible(connection: Connection, caller: Caller, group_id: UUID) -> GroupView:
    """Read a group if it is there for the caller."""
    view = membership.read(connection, group_id)
    if view is None or view.seen_by(caller.account_id) is None:
        raise GroupNotFound("It was deleted, or never was, or you are not in it.")
    return view


def lock_accounts(connection: Connection, caller: Caller, others: Collection[UUID]) -> None:
    """Hold the caller's account and others; raises TokenInvalid or AccountsUnknown for those not there."""
    wanted = {caller.account_id, *others}
    gone = wanted - lock_existing_accounts(connection, wanted)
    if caller.account_id in gone:
        raise TokenInvalid("Its account was deleted.")
    if gone:
        raise AccountsUnknown(
            "Nothing happened; leave the unknown accounts out.", unknown=sorted(map(str, gone))
        )


def check_group_count(connection: Connection, caller: Caller) -> None:
    """Refuse when the caller, who is held, is in as many groups as she may be."""
    joined = membership.count_by_state(connection, [caller.account_id])
    if joined.get((caller.account_id, MemberState.JOINED), 0) >= MAX_GROUPS:
        raise TooManyGroups(f"It is in {MAX_GROUPS}, the most it may; leave one first.")


def check_distinct(field: str, account_ids: Sequence[UUID], caller: Caller) -> None:
    """Refuse a list that names the caller, or somebody twice."""
    named = {caller.account_id}
    for place, account_id in enumerate(account_ids):
        if account_id in named:
            what = "the own account" if account_id == caller.account_id else "named before"
            raise InvalidFields.at(f"{field}/{place}", what)
        named.add(account_id)
