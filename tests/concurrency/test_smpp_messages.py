"""A receipt and the answer to its text meet in the database, whichever comes first, on both databases."""

from sqlalchemy import select

from core.base64url import encode
from core.database import Database
from core.metrics import Metrics
from sms.delivery import DeliveryService
from sms.metrics import SmsMetrics
from sms.models import Send
from sms.smpp.messages import SmppMessages
from sms.smpp.receipts import Receipt
from tests.concurrency.test_verification import together
from tests.conftest import Clock
from tests.databases import objects

DIGEST = b"d" * 16
TEXTS, EACH = 10, 4


def test_answers_and_receipts_at_once(database: Database, clock: Clock) -> None:
    """None of forty that come in at once, of two workers, is lost; each delivery is counted once."""
    ids = [number.to_bytes(16, "big") for number in range(TEXTS)]
    with objects(database) as session:
        session.add_all(
            Send(
                number_digest=DIGEST,
                id=identity,
                verification_nonce=bytes(16),
                channel="sms",
                country="DE",
                prefix="+4915112",
                first=True,
                price_micros=0,
                provider="smpp",
                status="queued",
                created_at=clock(),
                updated_at=clock(),
            )
            for identity in ids
        )
    metrics = SmsMetrics(Metrics())
    workers = [
        SmppMessages(database, clock, DeliveryService(database, clock, metrics), metrics)
        for _ in range(2)
    ]

    def work(number: int) -> None:
        text, turn = divmod(number, EACH)
        messages = workers[number % 2]
        if turn == 0:
            messages.record_response(str(text), str(text), encode(DIGEST + ids[text]))
        else:
            status = ("delivered", "sent", "delivered")[turn - 1]
            messages.record_receipt(Receipt(str(text), status, "DELIVRD"))

    together(TEXTS * EACH, work)

    with database.read() as connection:
        assert set(connection.scalars(select(Send.status))) == {"delivered"}
    assert metrics.deliveries.labels("smpp", "delivered")._value.get() == TEXTS
