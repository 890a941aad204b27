"""Blocked numbers: a block outlives the account it was set on, for whoever has the number next.

A blocked account that is deleted, or leaves its number, leaves a row behind in the state BLOCKED_NUMBER.
Its `peer_id` is a digest of what stands for the number (`tokens/former_numbers.py`) and no account's id, so
it is neither listed nor counted. It ends when whoever set it forgets or accepts the account, that one or the
next, and when the number becomes a new person's.

Other people's rows are found by one statement that only reads, on all shards. Each statement that changes
one names its account, and so its shard; they go in the order of the accounts, so that none waits in a circle.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, or_, select

from core.database import dialect_of, insert_into, table
from messaging.contacts.models import Contact
from tokens.models import Account

#: `contacts.service.State`; numbers here, because that imports this.
_BLOCKED, _BLOCKED_NUMBER = (2, 3), 4

_CONTACTS = table(Contact).c
_WHO_KNOWS = (
    select(_CONTACTS.account_id, _CONTACTS.peer_id, _CONTACTS.state, _CONTACTS.since)
    .where(_CONTACTS.peer_id.in_(bindparam("peers", expanding=True)))
    .order_by(_CONTACTS.account_id)
)
_FORGETTING = delete(table(Contact)).where(
    _CONTACTS.account_id == bindparam("account"), _CONTACTS.peer_id == bindparam("peer")
)
_UNBLOCKING = delete(table(Contact)).where(
    _CONTACTS.account_id == bindparam("account"),
    _CONTACTS.state == _BLOCKED_NUMBER,
    or_(_CONTACTS.peer_id == bindparam("number"), _CONTACTS.former_id == bindparam("peer")),
)
_NUMBER = select(table(Account).c.number_id).where(table(Account).c.id == bindparam("account"))


def peer_id_of_number(number_id: UUID) -> UUID:
    """Give what a blocked number is known by among contacts; no account has it as its id."""
    return UUID(bytes=hashlib.sha256(b"number" + number_id.bytes).digest()[:16])


@cache
def _blocking(dialect: str) -> Executable:
    row = insert_into(dialect, Contact).values(
        account_id=bindparam("account"),
        peer_id=bindparam("number"),
        state=_BLOCKED_NUMBER,
        since=bindparam("since"),
        former_id=bindparam("peer"),
    )
    return row.on_conflict_do_update(
        index_elements=["account_id", "peer_id"], set_={"former_id": row.excluded.former_id}
    )


def account_deleted(connection: Connection, account_id: UUID, number_id: UUID | None) -> None:
    """Forget whom a deleted account knew and who knew it; who blocked it has blocked its number.

    number_id: None when the number is a new person's.
    """
    connection.execute(delete(Contact).where(Contact.account_id == account_id))
    rows = _block_number(connection, account_id, number_id)
    _run(connection, _FORGETTING, [{"account": row.account_id, "peer": account_id} for row in rows])


def number_left(connection: Connection, account_id: UUID, number_id: UUID) -> None:
    """Block the number that an account left, for those who have blocked the account."""
    _block_number(connection, account_id, number_id)


def numbers_forgotten(connection: Connection, number_ids: Sequence[UUID]) -> None:
    """End the blocks of numbers that are a new person's."""
    marks = [peer_id_of_number(number_id) for number_id in number_ids]
    rows = connection.execute(_WHO_KNOWS, {"peers": marks}).all()
    _run(
        connection,
        _FORGETTING,
        [{"account": row.account_id, "peer": row.peer_id} for row in rows],
    )


def unblock_numbers(connection: Connection, account_id: UUID, peer_id: UUID) -> None:
    """End the blocks that an account left behind at somebody, and those of its number."""
    number_id = connection.scalar(_NUMBER, {"account": peer_id})
    connection.execute(
        _UNBLOCKING,
        {"account": account_id, "peer": peer_id, "number": peer_id_of_number(number_id or peer_id)},
    )


def _block_number(
    connection: Connection, account_id: UUID, number_id: UUID | None
) -> Sequence[Any]:
    """Block a number for those who have blocked an account; give all who know the account."""
    rows = connection.execute(_WHO_KNOWS, {"peers": [account_id]}).all()
    if number_id is not None:
        _run(
            connection,
            _blocking(dialect_of(connection)),
            [
                {
                    "account": row.account_id,
                    "number": peer_id_of_number(number_id),
                    "since": row.since,
                    "peer": account_id,
                }
                for row in rows
                if row.state in _BLOCKED
            ],
        )
    return rows


def _run(connection: Connection, statement: Executable, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(statement, rows)
