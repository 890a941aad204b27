"""One send in the database, under a reference that tests know."""

from flask_openapi3 import OpenAPI
from sqlalchemy import select, update

from core.base64url import encode
from sms.delivery import Outcome
from sms.models import Send
from tests.databases import objects

DIGEST, SEND_ID = b"\xfb" * 16, b"\xff" * 16
REFERENCE = encode(DIGEST + SEND_ID)


def queue(app: OpenAPI, outcome: Outcome | None = None) -> None:
    """Queue one send, and record how its hand-over ended."""
    kith = app.extensions["kith"]
    # The id is the service's to draw, so the row's is turned into the one that tests know.
    with kith.runtime.database.write() as connection:
        queued = kith.sms.sends.queue(
            connection,
            kith.sms.sends.route(connection, "DE", "sms"),
            number_digest=DIGEST,
            verification_nonce=bytes(16),
            prefix="+4915112",
            first=True,
        )
        connection.execute(update(Send).where(Send.id == queued.id).values(id=SEND_ID))
        if outcome:
            provider = queued.candidate.provider
            kith.sms.deliveries.record(connection, provider, DIGEST, SEND_ID, outcome)


def sent_row(app: OpenAPI) -> Send:
    """Read the one send there is."""
    with objects(app.extensions["kith"].runtime.database) as session:
        row: Send = session.scalars(select(Send)).one()
        return row
