"""People with accounts and one device each, put into a database past the service; and messages that wait."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from core.database import Database, table
from messaging.contacts.models import Contact
from messaging.contacts.service import ContactState
from messaging.mailbox.models import Envelope, Mailbox
from tokens.models import Account, Device
from tokens.token_issuer import SECRET_SIZE, TOKEN_PREFIX, Credential

BATCH = 5_000
#: Settings under which a bench is many clients: all of its connections come from one address.
MANY_CONNECTIONS = {
    "KITH_CONNECTIONS_PER_ADDRESS": "1000000",
    "KITH_CONNECTIONS_PER_DEVICE": "1000",
}
#: Settings under which people write as fast as machines do.
UNLIMITED = MANY_CONNECTIONS | {
    "KITH_MESSAGES_PER_MINUTE": "1000000000",
    "KITH_MESSAGES_TO_RECIPIENT_PER_MINUTE": "1000000000",
    "KITH_MESSAGES_TO_NEW_RECIPIENT_PER_DAY": "1000000000",
}


@dataclass(frozen=True)
class Person:
    """Somebody with one device, and its token."""

    account_id: UUID
    device_id: UUID
    token: str


def settle(url: str, count: int) -> list[Person]:
    """Make accounts as if they had registered just now; the first two are in touch, and so on."""
    now = datetime.now(UTC)
    credentials = [Credential((uuid4(), uuid4()), os.urandom(SECRET_SIZE)) for _ in range(count)]
    database = Database(url)
    with database.write() as connection:
        connection.execute(
            table(Account).insert(),
            [
                {
                    "id": one.ids[0],
                    "e164": f"+1{n:010d}",
                    "discoverable": False,
                    "created_at": now,
                    "last_seen_at": now,
                }
                for n, one in enumerate(credentials)
            ],
        )
        connection.execute(
            table(Device).insert(),
            [
                {
                    "account_id": one.ids[0],
                    "id": one.ids[1],
                    "token_hash": one.secret_hash,
                    "created_at": now,
                    "last_seen_at": now,
                }
                for one in credentials
            ],
        )
        connection.execute(
            table(Mailbox).insert(),
            [
                {
                    "device_id": one.ids[1],
                    "account_id": one.ids[0],
                    "last_seq": 0,
                    "acked_seq": 0,
                    "urgent_seq": 0,
                    "waiting": 0,
                    "waiting_bytes": 0,
                }
                for one in credentials
            ],
        )
        ids = [one.ids[0] for one in credentials]
        neighbours = list(zip(ids[::2], ids[1::2], strict=False))
        connection.execute(
            table(Contact).insert(),
            [
                {"account_id": one, "peer_id": other, "state": ContactState.ACCEPTED, "since": now}
                for pair in neighbours
                for one, other in (pair, pair[::-1])
            ],
        )
    database.close()
    return [Person(*one.ids, one.format(TOKEN_PREFIX)) for one in credentials]


def fill_mailbox(url: str, sender: Person, recipient: Person, contents: Sequence[bytes]) -> None:
    """Put messages into an empty mailbox, as if they had been sent long ago."""
    now = datetime.now(UTC)
    database = Database(url)
    with database.write() as connection:
        mailboxes = table(Mailbox)
        connection.execute(
            mailboxes.update()
            .where(mailboxes.c.device_id == recipient.device_id)
            .values(
                last_seq=len(contents),
                waiting=len(contents),
                waiting_bytes=sum(map(len, contents)),
            )
        )
        for batch in _batches(contents):
            connection.execute(
                table(Envelope).insert(),
                [
                    {
                        "device_id": recipient.device_id,
                        "seq": seq,
                        "message_id": uuid4(),
                        "from_account_id": sender.account_id,
                        "from_device_id": sender.device_id,
                        "content": content,
                        "size": len(content),
                        "sent_at": now,
                        "expires_at": now + timedelta(days=30),
                        "is_request": False,
                    }
                    for seq, content in batch
                ],
            )
    database.close()


def _batches(contents: Sequence[bytes]) -> list[list[tuple[int, bytes]]]:
    numbered = list(enumerate(contents, 1))
    return [numbered[at : at + BATCH] for at in range(0, len(numbered), BATCH)]
