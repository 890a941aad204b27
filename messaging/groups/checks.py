"""Checks that creating, changing and joining groups have in common."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.problems import InvalidFields
from core.rate_limits import RateLimit, consume
from messaging.groups import membership
from messaging.groups.membership import GroupView
from messaging.groups.models import MemberState
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
    """Count one against a limit of the caller, unless the transaction is rolled back.

    Raises GroupRateLimited.
    """
    allowed, status = consume(connection, limit, caller.subject, now)
    if not allowed:
        raise GroupRateLimited("Nothing was changed. Try again later.", rate_limit=status)


def read_visible(connection: Connection, caller: Caller, group_id: UUID) -> GroupView:
    """Return a group; raises GroupNotFound if it is hidden from the caller."""
    view = membership.read(connection, group_id)
    if view is None or view.seen_by(caller.account_id) is None:
        raise GroupNotFound("It was deleted, or never was, or you are not in it.")
    return view


def lock_accounts(connection: Connection, caller: Caller, others: Collection[UUID]) -> None:
    """Lock the caller's account and others; raises TokenInvalid or AccountsUnknown for deleted ones."""
    wanted = {caller.account_id, *others}
    missing = wanted - lock_existing_accounts(connection, wanted)
    if caller.account_id in missing:
        raise TokenInvalid("Its account was deleted.")
    if missing:
        raise AccountsUnknown(
            "Nothing was changed. Leave the unknown accounts out.",
            unknown=sorted(map(str, missing)),
        )


def check_group_count(connection: Connection, caller: Caller, max_joined: int) -> None:
    """Raise TooManyGroups if the caller, whose account is locked, has joined as many groups."""
    groups = membership.count_by_state(connection, [caller.account_id])
    if groups.get((caller.account_id, MemberState.JOINED), 0) >= max_joined:
        raise TooManyGroups(f"It is in {max_joined}, the maximum. Leave one first.")


def check_distinct(field: str, account_ids: Sequence[UUID], caller: Caller) -> None:
    """Raise InvalidFields if a list contains the caller, or an account twice."""
    named = {caller.account_id}
    for index, account_id in enumerate(account_ids):
        if account_id in named:
            detail = "the own account" if account_id == caller.account_id else "named before"
            raise InvalidFields.at(f"{field}/{index}", detail)
        named.add(account_id)
