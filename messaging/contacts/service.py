"""Contacts: the accounts that an account accepted or blocked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, func, select

from core.database import Database, dialect_of, find_all, table
from core.problems import InvalidFields
from messaging.contacts.blocked_numbers import BLOCKED_STATES, unblock_numbers
from messaging.contacts.models import Contact, ContactState
from messaging.contacts.problems import TooManyContacts
from messaging.contacts.relations import insert_contact, relations_of
from messaging.message_types import SenderRecipient
from tokens.accounts import lock_existing_accounts
from tokens.devices import Caller
from tokens.problems import AccountNotFound, TokenInvalid

#: Accepted by hand, and as many blocked.
MAX_CONTACTS = 10_000

WireState = Literal["accepted", "blocked"]

_STATES: dict[WireState, tuple[ContactState, ...]] = {
    "accepted": (ContactState.ACCEPTED,),
    "blocked": BLOCKED_STATES,
}
_SELECT_COUNT = {
    choice: select(func.count())
    .select_from(table(Contact))
    .where(
        table(Contact).c.account_id == bindparam("account_id"), table(Contact).c.state.in_(states)
    )
    for choice, states in _STATES.items()
}


@cache
def _upsert_state(dialect: str, choice: WireState) -> Executable:
    """Build the upsert of a decision; it returns no row if that was decided before."""
    state = table(Contact).c.state
    accepted = state == ContactState.ACCEPTED
    if choice == "accepted":
        first, then, changes = ContactState.ACCEPTED, ContactState.ACCEPTED, ~accepted
    else:
        first, then, changes = (
            ContactState.BLOCKED,
            ContactState.BLOCKED_AFTER_ACCEPTED,
            accepted,
        )
    row = insert_contact(dialect, first)
    return row.on_conflict_do_update(
        index_elements=["account_id", "peer_id"],
        set_={"state": then, "since": row.excluded.since},
        where=changes,
    ).returning(state)


@dataclass
class ContactService:
    """Sets and lists what the caller's account decided about others."""

    database: Database
    clock: Callable[[], datetime]
    max_contacts: int = MAX_CONTACTS

    def set_state(self, caller: Caller, peer_id: UUID, choice: WireState) -> None:
        """Accept or block an account; a repetition changes nothing.

        Raises InvalidFields for the own account, AccountNotFound or TooManyContacts.
        """
        account_id = caller.account_id
        if peer_id == account_id:
            raise InvalidFields.at("/account_id", "must be another account")
        # Blocking keeps away what would add more, so it is allowed on a full disk; accepting only adds.
        with self.database.write(adds=choice == "accepted") as connection:
            # Both, so that parallel changes are counted one by one, and neither account is deleted meanwhile.
            existing = lock_existing_accounts(connection, [account_id, peer_id])
            if account_id not in existing:
                raise TokenInvalid("Its account was deleted.")
            if peer_id not in existing:
                raise AccountNotFound("It was deleted, or never was.")
            if choice == "accepted":
                unblock_numbers(connection, account_id, peer_id)
            changed = connection.execute(
                _upsert_state(dialect_of(connection), choice),
                {"account_id": account_id, "peer_id": peer_id, "since": self.clock()},
            ).first()
            if changed is None:
                return
            count = connection.scalar(_SELECT_COUNT[choice], {"account_id": account_id}) or 0
            if count > self.max_contacts:
                # The rollback removes the row; nothing else was recorded.
                raise TooManyContacts(f"At most {self.max_contacts} can be {choice} by hand.")

    def forget(self, caller: Caller, peer_id: UUID) -> None:
        """Delete what was decided about an account and its number; a repetition changes nothing."""
        with self.database.write() as connection:
            # Before the account is deleted, or after: a deletion leaves a row of its number behind.
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
        """Return the caller's contacts in the order of their ids, and whether more follow."""
        states = _STATES[choice] if choice is not None else (ContactState.ACCEPTED, *BLOCKED_STATES)
        rows = select(*table(Contact).columns).where(
            Contact.account_id == caller.account_id, Contact.state.in_(states)
        )
        if after is not None:
            rows = rows.where(Contact.peer_id > after)
        with self.database.read() as connection:
            found = find_all(connection, Contact, rows.order_by(Contact.peer_id).limit(limit + 1))
        return found[:limit], len(found) > limit

    @staticmethod
    def may_signal(connection: Connection, pairs: Sequence[SenderRecipient]) -> list[bool]:
        """Return for each signal whether its recipient is in touch with the sender; counts nothing."""
        relations = relations_of(connection, set(pairs))
        return [
            relations[pair].recipient == ContactState.ACCEPTED
            and relations[pair].sender in (None, ContactState.ACCEPTED)
            for pair in pairs
        ]
