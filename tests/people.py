"""People with accounts and devices, made past the proof of a number, where there must be many."""

import os
from uuid import UUID, uuid4

from app import Kith
from core.database import table
from messaging.contacts.models import Contact
from tests.conftest import Person
from tokens.devices import Caller
from tokens.models import Account
from tokens.schemas import DeviceDescription


def settle(kith: Kith, number: int) -> list[Person]:
    """Make so many accounts of one device each."""
    ids = [uuid4() for _ in range(number)]
    now = kith.runtime.clock()
    with kith.runtime.database.write() as connection:
        connection.execute(
            table(Account).insert(),
            [
                {
                    "id": account_id,
                    "e164": f"+{account_id.int % 10**14:014}",
                    "discoverable": False,
                    "created_at": now,
                    "last_seen_at": now,
                }
                for account_id in ids
            ],
        )
    return [add_device(kith, account_id) for account_id in ids]


def add_device(kith: Kith, account_id: UUID) -> Person:
    """Add a device to an account; give it as a person."""
    with kith.runtime.database.write() as connection:
        joined = kith.tokens.devices.add(
            connection, account_id, uuid4(), DeviceDescription(), os.urandom(32)
        )
    return Person("", str(account_id), str(joined.device_id), joined.device_token, False)


def put_in_touch(kith: Kith, people: list[Person], inviter: Person, state: int = 1) -> None:
    """Have people accept an account, or stand to it in another state."""
    with kith.runtime.database.write() as connection:
        connection.execute(
            table(Contact).insert(),
            [
                {
                    "account_id": UUID(she.account_id),
                    "peer_id": UUID(inviter.account_id),
                    "state": state,
                    "since": kith.runtime.clock(),
                }
                for she in people
            ],
        )


def caller(person: Person) -> Caller:
    """Give a person's device as services know who calls them."""
    return Caller(UUID(person.account_id), UUID(person.device_id), b"")
