"""Blocked numbers: a block outlives the blocked account, and applies to the next account of its number.

When a blocked account is deleted or leaves its number, a row in the state BLOCKED_NUMBER stays. Its `peer_id`
is a digest of the number's id (`tokens/former_numbers.py`), which no account has as its id, so the row is
neither listed nor counted. It ends when the blocker forgets or accepts that account or the next one, and when
the number belongs to a new person.

Rows of other accounts are found by one read over all shards. Every statement that changes a row names its
account, and so its shard. Changes go in the order of the accounts, so that no two transactions wait for each
other.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, or_, select

from core.database import dialect_of, insert_into, table
from messaging.contacts.models import Contact, ContactState
from tokens.models import Account

BLOCKED_STATES = (ContactState.BLOCKED, ContactState.BLOCKED_AFTER_ACCEPTED)

_CONTACTS = table(Contact).c
_SELECT_CONTACTS_OF_PEERS = (
    select(_CONTACTS.account_id, _CONTACTS.peer_id, _CONTACTS.state, _CONTACTS.since)
    .where(_CONTACTS.peer_id.in_(bindparam("peer_ids", expanding=True)))
    .order_by(_CONTACTS.account_id)
)
_DELETE_CONTACT = delete(table(Contact)).where(
    _CONTACTS.account_id == bindparam("account_id"), _CONTACTS.peer_id == bindparam("peer_id")
)
_DELETE_BLOCKED_NUMBERS = delete(table(Contact)).where(
    _CONTACTS.account_id == bindparam("account_id"),
    _CONTACTS.state == ContactState.BLOCKED_NUMBER,
    or_(
        _CONTACTS.peer_id == bindparam("number_peer_id"),
        _CONTACTS.former_id == bindparam("former_id"),
    ),
)
_SELECT_NUMBER_ID = select(table(Account).c.number_id).where(table(Account).c.id == bindparam("id"))


def peer_id_of_number(number_id: UUID) -> UUID:
    """Return the `peer_id` of a blocked number; no account has it as its id."""
    return UUID(bytes=hashlib.sha256(b"number" + number_id.bytes).digest()[:16])


@cache
def _upsert_blocked_number(dialect: str) -> Executable:
    row = insert_into(dialect, Contact).values(
        account_id=bindparam("account_id"),
        peer_id=bindparam("peer_id"),
        state=ContactState.BLOCKED_NUMBER,
        since=bindparam("since"),
        former_id=bindparam("former_id"),
    )
    return row.on_conflict_do_update(
        index_elements=["account_id", "peer_id"], set_={"former_id": row.excluded.former_id}
    )


def account_deleted(connection: Connection, account_id: UUID, number_id: UUID | None) -> None:
    """Delete the contacts of and with a deleted account; accounts that blocked it block its number.

    number_id: None when the number belongs to a new person.
    """
    connection.execute(delete(Contact).where(Contact.account_id == account_id))
    rows = _block_number(connection, account_id, number_id)
    _run(
        connection,
        _DELETE_CONTACT,
        [{"account_id": row.account_id, "peer_id": account_id} for row in rows],
    )


def number_left(connection: Connection, account_id: UUID, number_id: UUID) -> None:
    """Block the number that an account left, for the accounts that blocked the account."""
    _block_number(connection, account_id, number_id)


def numbers_forgotten(connection: Connection, number_ids: Sequence[UUID]) -> None:
    """End the blocks of numbers that belong to new persons."""
    peer_ids = [peer_id_of_number(number_id) for number_id in number_ids]
    rows = connection.execute(_SELECT_CONTACTS_OF_PEERS, {"peer_ids": peer_ids}).all()
    _run(
        connection,
        _DELETE_CONTACT,
        [{"account_id": row.account_id, "peer_id": row.peer_id} for row in rows],
    )


def unblock_numbers(connection: Connection, account_id: UUID, peer_id: UUID) -> None:
    """End an account's blocks of the number of a peer, and of numbers that the peer had before."""
    number_id = connection.scalar(_SELECT_NUMBER_ID, {"id": peer_id})
    connection.execute(
        _DELETE_BLOCKED_NUMBERS,
        {
            "account_id": account_id,
            "former_id": peer_id,
            "number_peer_id": peer_id_of_number(number_id or peer_id),
        },
    )


def _block_number(
    connection: Connection, account_id: UUID, number_id: UUID | None
) -> Sequence[Any]:
    """Block a number for the accounts that blocked an account; return all contacts with the account."""
    rows = connection.execute(_SELECT_CONTACTS_OF_PEERS, {"peer_ids": [account_id]}).all()
    if number_id is not None:
        _run(
            connection,
            _upsert_blocked_number(dialect_of(connection)),
            [
                {
                    "account_id": row.account_id,
                    "peer_id": peer_id_of_number(number_id),
                    "since": row.since,
                    "former_id": account_id,
                }
                for row in rows
                if row.state in BLOCKED_STATES
            ],
        )
    return rows


def _run(connection: Connection, statement: Executable, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(statement, rows)
