"""Contacts: whom an account is in touch with, and whom it has blocked.

Owns the table `contacts`: what an account sets by hand, what its writing to somebody sets by itself, and
how a sender and a recipient stand to each other. Refuses accounts that are not there, and more rows by
hand than an address book has.
"""

import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from enum import IntEnum
from functools import cache
from typing import Literal, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Connection,
    Executable,
    bindparam,
    delete,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import Insert

from core.database import Database, dialect_of, find_all, insert_into, table
from core.problems import InvalidFields
from messaging.contacts.blocked_numbers import peer_id_of_number, unblock_numbers
from messaging.contacts.models import Contact
from messaging.contacts.problems import TooManyContacts
from messaging.message_types import SenderRecipient
from tokens.accounts import lock_existing_accounts
from tokens.devices import Caller
from tokens.problems import AccountNotFound, TokenInvalid

#: Of each state, set by hand.
MAX_CONTACTS = 10_000

WireState = Literal["accepted", "blocked"]


class ContactState(IntEnum):
    """How an account stands to another one; there is no row for one it never met."""

    ACCEPTED = 1
    BLOCKED = 2
    #: So that a sender's limits do not change, from which she would learn that she is blocked.
    BLOCKED_AFTER_ACCEPTED = 3
    #: The account was blocked and is gone; the next one of its number is blocked.
    BLOCKED_NUMBER = 4


WIRE_STATES: dict[WireState, tuple[ContactState, ...]] = {
    "accepted": (ContactState.ACCEPTED,),
    "blocked": (ContactState.BLOCKED, ContactState.BLOCKED_AFTER_ACCEPTED),
}


def wire_state(state: int) -> WireState:
    """Name a state as its owner sees it."""
    return "accepted" if state == ContactState.ACCEPTED else "blocked"


class Relation(NamedTuple):
    """How a sender stands to a recipient, and the recipient to them; a `State` or None each."""

    sender: int | None
    recipient: int | None


class ContactService:
    """Sets and lists how the caller's account stands to others."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def set_state(self, caller: Caller, peer_id: UUID, choice: WireState) -> None:
        """Accept or block an account; doing it again changes nothing.

        Raises InvalidFields for the own account, AccountNotFound or TooManyContacts.
        """
        mine = caller.account_id
        if peer_id == mine:
            raise InvalidFields.at("/account_id", "must be another account")
        # Blocking keeps away what would add more; accepting only adds.
        with self._database.write(adds=choice == "accepted") as connection:
            # Both, so that parallel changes are counted one by one, and neither is deleted meanwhile.
            there = lock_existing_accounts(connection, [mine, peer_id])
            if mine not in there:
                raise TokenInvalid("Its account was deleted.")
            if peer_id not in there:
                raise AccountNotFound("It was deleted, or never was.")
            values = {"account": mine, "peer": peer_id, "now": self._clock()}
            if choice == "accepted":
                unblock_numbers(connection, mine, peer_id)
            if connection.execute(_setting(dialect_of(connection), choice), values).first() is None:
                return
            held = connection.scalar(_COUNTING[choice], {"account": mine}) or 0
            if held > MAX_CONTACTS:
                # The rollback takes the row back; nothing else was recorded.
                raise TooManyContacts(f"At most {MAX_CONTACTS} can be {choice} by hand.")

    def forget(self, caller: Caller, peer_id: UUID) -> None:
        """Stand to an account as if they had never met; doing it again changes nothing."""
        with self._database.write() as connection:
            # Before its deletion or after it: that leaves a row of its number behind.
            lock_existing_accounts(connection, [caller.account_id, peer_id])
            connection.execute(
                delete(Contact).where(
                    Contact.account_id == caller.account_id, Contact.peer_id == peer_id
                )
            )
            unblock_numbers(connection, caller.account_id, peer_id)

    def page(
        self, caller: Caller, choice: WireState | None, after: UUID | None, limit: int
    ) -> tuple[list[Contact], bool]:
        """Give the caller's contacts in the order of their ids, and whether more follow."""
        listed = (
            WIRE_STATES[choice]
            if choice is not None
            else (*WIRE_STATES["accepted"], *WIRE_STATES["blocked"])
        )
        rows = select(*table(Contact).columns).where(
            Contact.account_id == caller.account_id, Contact.state.in_(listed)
        )
        if after is not None:
            rows = rows.where(Contact.peer_id > after)
        with self._database.read() as connection:
            found = find_all(connection, Contact, rows.order_by(Contact.peer_id).limit(limit + 1))
        return found[:limit], len(found) > limit

    @staticmethod
    def may_signal(connection: Connection, attempts: Sequence[SenderRecipient]) -> list[bool]:
        """Say of each signal whether its recipient is in touch with the sender; nothing is counted."""
        standings = relations_of(connection, set(attempts))
        passed = (None, ContactState.ACCEPTED), (ContactState.ACCEPTED, ContactState.ACCEPTED)
        return [standings[attempt] in passed for attempt in attempts]


def relations_of(
    connection: Connection, attempts: Collection[SenderRecipient]
) -> dict[SenderRecipient, Relation]:
    """Read how senders and recipients stand to each other, in one statement for all of them."""
    ids = [(attempt.from_account_id.hex, attempt.to_id.hex) for attempt in attempts]
    pairs = [sender + recipient for sender, recipient in ids]
    pairs += [recipient + sender for sender, recipient in ids]
    # Only of senders whose number had an account before: it may have been blocked.
    numbers: dict[SenderRecipient, int] = {}
    for attempt in attempts:
        if attempt.number_id is not None:
            numbers[attempt] = len(pairs)
            pairs.append(attempt.to_id.hex + peer_id_of_number(attempt.number_id).hex)
    rows = connection.execute(_READING[dialect_of(connection)], {"pairs": json.dumps(pairs)})
    states: dict[int, int] = dict(rows.all())
    return {
        attempt: Relation(
            states.get(place),
            # What was chosen about the account itself is newer than what was about its number.
            states.get(place + len(ids)) or states.get(numbers.get(attempt, -1)),
        )
        for place, attempt in enumerate(attempts)
    }


def accept_recipients(
    connection: Connection, attempts: Collection[SenderRecipient], now: datetime
) -> None:
    """Put senders in touch with whom they wrote to; whoever set something meanwhile is left with it."""
    rows = [
        {"account": attempt.from_account_id, "peer": attempt.to_id, "now": now}
        for attempt in sorted(attempts, key=lambda one: (one.from_account_id, one.to_id))
    ]
    if rows:
        connection.execute(_meeting(dialect_of(connection)), rows)


_COUNTING = {
    choice: select(func.count())
    .select_from(table(Contact))
    .where(table(Contact).c.account_id == bindparam("account"), table(Contact).c.state.in_(states))
    for choice, states in WIRE_STATES.items()
}
# The driver's order of a join is forced on SQLite, which would else read the whole table first.
_READING = {
    "sqlite": text(
        "SELECT key, state FROM json_each(:pairs) CROSS JOIN contacts"
        " ON account_id = substr(value, 1, 32) AND peer_id = substr(value, 33)"
    ),
    "postgresql": text(
        "SELECT place - 1, state"
        " FROM json_array_elements_text(CAST(:pairs AS json)) WITH ORDINALITY AS pair (value, place)"
        " JOIN contacts ON account_id = CAST(substr(value, 1, 32) AS uuid)"
        " AND peer_id = CAST(substr(value, 33) AS uuid)"
    ),
}


@cache
def _setting(dialect: str, choice: WireState) -> Executable:
    """Write the upsert of a choice; it returns nothing when that was chosen before."""
    first = _inserting(
        dialect, ContactState.ACCEPTED if choice == "accepted" else ContactState.BLOCKED
    )
    state = table(Contact).c.state
    accepted = state == ContactState.ACCEPTED
    becomes, changes = (
        (ContactState.ACCEPTED, ~accepted)
        if choice == "accepted"
        else (ContactState.BLOCKED_AFTER_ACCEPTED, accepted)
    )
    return first.on_conflict_do_update(
        index_elements=["account_id", "peer_id"],
        set_={"state": becomes, "since": bindparam("now")},
        where=changes,
    ).returning(state)


@cache
def _meeting(dialect: str) -> Executable:
    return _inserting(dialect, ContactState.ACCEPTED).on_conflict_do_nothing()


def _inserting(dialect: str, state: ContactState) -> Insert:
    return insert_into(dialect, Contact).values(
        account_id=bindparam("account"),
        peer_id=bindparam("peer"),
        state=state,
        since=bindparam("now"),
    )
