"""Invitations: which accounts join a group at once, which are invited, and which are not told of it.

An inviter cannot tell whether the invited account has blocked it or has just not answered.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from core.database import table
from core.rate_limits import add_to_windows
from messaging.contacts.blocked_numbers import peer_id_of_number
from messaging.contacts.models import Contact, ContactState
from messaging.groups import membership
from messaging.groups.models import MemberState
from messaging.groups.problems import GroupRateLimited
from messaging.limits import GROUP_INVITATIONS
from tokens.devices import Caller

_CONTACTS = table(Contact).c
_SELECT_CONTACTS = select(_CONTACTS.account_id, _CONTACTS.peer_id, _CONTACTS.state).where(
    _CONTACTS.account_id.in_(bindparam("account_ids", expanding=True)),
    _CONTACTS.peer_id.in_(bindparam("peer_ids", expanding=True)),
)


@dataclass(frozen=True)
class GroupQuota:
    """How many groups and invitations an account may have."""

    joined: int = 1_000
    #: Unanswered invitations.
    invitations: int = 100
    #: Unanswered invitations by one inviter, who could otherwise use up all of them.
    invitations_by_one: int = 10


DEFAULT_QUOTA = GroupQuota()


def decide_states(
    connection: Connection,
    inviter: Caller,
    invited: Collection[UUID],
    quota: GroupQuota,
    now: datetime,
) -> dict[UUID, MemberState]:
    """Return the state in which each invited account enters a group; the accounts are locked.

    Accounts that accepted the inviter join, unless they have joined the maximum number of groups. Others are
    invited. They are not told if they blocked the inviter or its number, or have the maximum number of
    unanswered invitations, in all or by this inviter.
    Raises GroupRateLimited if the inviter has invited too many accounts that have not accepted it.
    """
    contacts = _contact_states(connection, inviter, invited)
    number = sum(contacts.get(account) != ContactState.ACCEPTED for account in invited)
    if number:
        _count(connection, inviter.subject, number, now)
    groups = membership.count_by_state(connection, invited)
    invited_by = inviter.number_id or inviter.account_id
    by_inviter = membership.count_invitations(connection, invited, invited_by)
    return {
        account: _state(contacts.get(account), groups, by_inviter.get(account, 0), account, quota)
        for account in invited
    }


def _contact_states(
    connection: Connection, inviter: Caller, invited: Collection[UUID]
) -> dict[UUID, int]:
    """Return what the invited accounts decided about the inviter, or else about its number."""
    peers = [inviter.account_id]
    if inviter.number_id is not None:
        peers.append(peer_id_of_number(inviter.number_id))
    rows = connection.execute(
        _SELECT_CONTACTS, {"account_ids": list(invited), "peer_ids": peers}
    ).all()
    states: dict[UUID, int] = {}
    # The decision about the account comes last, and counts.
    for row in sorted(rows, key=lambda row: bool(row.peer_id == inviter.account_id)):
        states[row.account_id] = row.state
    return states


def _state(
    contact: int | None,
    groups: Mapping[tuple[UUID, MemberState], int],
    by_inviter: int,
    account: UUID,
    quota: GroupQuota,
) -> MemberState:
    accepted = contact == ContactState.ACCEPTED
    if accepted and groups.get((account, MemberState.JOINED), 0) < quota.joined:
        return MemberState.JOINED
    blocked = contact is not None and not accepted
    full = (
        by_inviter >= quota.invitations_by_one
        or groups.get((account, MemberState.INVITED), 0) >= quota.invitations
    )
    return MemberState.WITHHELD if blocked or full else MemberState.INVITED


def _count(connection: Connection, inviter: bytes, number: int, now: datetime) -> None:
    charge = GROUP_INVITATIONS.charge(inviter, number, now)
    (counted,) = add_to_windows(connection, [charge], now)
    if counted.used > GROUP_INVITATIONS.quota:
        left = max(0, GROUP_INVITATIONS.quota - counted.used + number)
        wait = round((counted.ends_at - now).total_seconds())
        raise GroupRateLimited(
            f"{number} of these accounts are not in touch with you; {left} such accounts may be invited"
            " now.",
            rate_limit=GROUP_INVITATIONS.status(left, wait),
        )
