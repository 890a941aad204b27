"""Who may add whom to a group: at once, by an invitation, or by one that she is not told of.

Owns the judgement and its bounds. Refuses too many invitations of strangers; whom the invited person has
blocked cannot tell that from an invitation which she has not answered.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from core.database import table
from core.rate_limits import add_to_windows
from messaging.contacts import service as contacts
from messaging.contacts.blocked_numbers import peer_id_of_number
from messaging.contacts.models import Contact
from messaging.groups import membership
from messaging.groups.membership import MemberState
from messaging.groups.problems import GroupRateLimited
from messaging.limits import GROUP_INVITATIONS
from tokens.devices import Caller

#: Groups that an account may have joined.
MAX_GROUPS = 1_000
#: Invitations of an account that may wait to be answered.
MAX_INVITATIONS = 100
#: Those of them by one inviter, who could otherwise fill all of them.
MAX_INVITATIONS_BY_ONE = 10
_IN_TOUCH = contacts.ContactState.ACCEPTED
_CONTACTS = table(Contact).c
_STANDING = select(_CONTACTS.account_id, _CONTACTS.peer_id, _CONTACTS.state).where(
    _CONTACTS.account_id.in_(bindparam("accounts", expanding=True)),
    _CONTACTS.peer_id.in_(bindparam("peers", expanding=True)),
)


def decide_states(
    connection: Connection,
    inviter: Caller,
    invited: Collection[UUID],
    now: datetime,
) -> dict[UUID, MemberState]:
    """Say in which state each invited account comes into a group; their rows are held.

    In touch with the inviter they join, unless they are in as many groups as they may be. Else they are
    invited; and are not told when they have blocked the inviter or the inviter's number, or have as many
    invitations as may wait, of all or of this inviter.
    Raises GroupRateLimited when the inviter has invited too many who are not in touch with it.
    """
    standings = _standings(connection, inviter, invited)
    others = sum(standings.get(account) != _IN_TOUCH for account in invited)
    if others:
        _count_strangers(connection, inviter.subject, others, now)
    groups = membership.count_by_state(connection, invited)
    subject = inviter.number_id or inviter.account_id
    by_inviter = membership.count_invitations(connection, invited, subject)
    return {
        account: _state(standings.get(account), groups, by_inviter.get(account, 0), account)
        for account in invited
    }


def _standings(
    connection: Connection, inviter: Caller, invited: Collection[UUID]
) -> dict[UUID, int]:
    """Give how the invited accounts stand to the inviter, or else to the inviter's number."""
    peers = [inviter.account_id]
    if inviter.number_id is not None:
        peers.append(peer_id_of_number(inviter.number_id))
    rows = connection.execute(_STANDING, {"accounts": list(invited), "peers": peers}).all()
    standings: dict[UUID, int] = {}
    # What was chosen about the account itself comes last, and counts.
    for row in sorted(rows, key=lambda row: bool(row.peer_id == inviter.account_id)):
        standings[row.account_id] = row.state
    return standings


def _state(
    contact: int | None,
    groups: Mapping[tuple[UUID, MemberState], int],
    by_inviter: int,
    account: UUID,
) -> MemberState:
    if contact == _IN_TOUCH and groups.get((account, MemberState.JOINED), 0) < MAX_GROUPS:
        return MemberState.JOINED
    blocked = contact not in (None, _IN_TOUCH)
    full = (
        by_inviter >= MAX_INVITATIONS_BY_ONE
        or groups.get((account, MemberState.INVITED), 0) >= MAX_INVITATIONS
    )
    if blocked or full:
        return MemberState.WITHHELD
    return MemberState.INVITED


def _count_strangers(connection: Connection, inviter: bytes, number: int, now: datetime) -> None:
    charge = GROUP_INVITATIONS.charge(inviter, number, now)
    (counted,) = add_to_windows(connection, [charge], now)
    if counted.used > GROUP_INVITATIONS.quota:
        left = max(0, GROUP_INVITATIONS.quota - counted.used + number)
        wait = round((counted.ends_at - now).total_seconds())
        raise GroupRateLimited(
            f"{number} of these accounts are not in touch with you; {left} of such may be invited now.",
            rate_limit=GROUP_INVITATIONS.status(left, wait),
        )
