"""Relations: what the sender and the recipient of a message decided about each other."""

import json
from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection, Executable, bindparam, text
from sqlalchemy.dialects.postgresql import Insert

from core.database import dialect_of, insert_into
from messaging.contacts.blocked_numbers import peer_id_of_number
from messaging.contacts.models import Contact, ContactState
from messaging.message_types import SenderRecipient

# CROSS JOIN forces the order of the join on SQLite, which would otherwise scan the whole table first.
_SELECT_STATES = {
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


class Relation(NamedTuple):
    """What a sender and a recipient decided about each other: a `ContactState` or None each."""

    sender: int | None
    recipient: int | None


def relations_of(
    connection: Connection, pairs: Collection[SenderRecipient]
) -> dict[SenderRecipient, Relation]:
    """Return the relations of senders and recipients, read in one statement."""
    ids = [(pair.from_account_id.hex, pair.to_id.hex) for pair in pairs]
    keys = [sender + recipient for sender, recipient in ids]
    keys += [recipient + sender for sender, recipient in ids]
    # Only for senders whose number had another account before: that one may have been blocked.
    numbers: dict[SenderRecipient, int] = {}
    for pair in pairs:
        if pair.number_id is not None:
            numbers[pair] = len(keys)
            keys.append(pair.to_id.hex + peer_id_of_number(pair.number_id).hex)
    rows = connection.execute(_SELECT_STATES[dialect_of(connection)], {"pairs": json.dumps(keys)})
    states: dict[int, int] = dict(rows.all())
    return {
        pair: Relation(
            states.get(place),
            # A decision about the account is newer than one about its number.
            states.get(place + len(ids)) or states.get(numbers.get(pair, -1)),
        )
        for place, pair in enumerate(pairs)
    }


def accept_recipients(
    connection: Connection, pairs: Collection[SenderRecipient], now: datetime
) -> None:
    """Accept recipients for their senders; a decision that was made meanwhile stays."""
    rows = [
        {"account_id": pair.from_account_id, "peer_id": pair.to_id, "since": now}
        for pair in sorted(pairs, key=lambda one: (one.from_account_id, one.to_id))
    ]
    if rows:
        connection.execute(_insert_accepted(dialect_of(connection)), rows)


@cache
def _insert_accepted(dialect: str) -> Executable:
    return insert_contact(dialect, ContactState.ACCEPTED).on_conflict_do_nothing()


def insert_contact(dialect: str, state: ContactState) -> Insert:
    """Build the INSERT of a contact in a state."""
    return insert_into(dialect, Contact).values(
        account_id=bindparam("account_id"),
        peer_id=bindparam("peer_id"),
        state=state,
        since=bindparam("since"),
    )
