"""A worker as gunicorn runs it: everything is cooperative, and a hundred texts wait at one SMSC.

Run by test_smpp_worker.py on a migrated database; prints JSON. gevent patches everything before this is
imported: `python -m gevent.monkey --module tests.contract.smpp_in_gevent <database url> <tls or plain>`.
"""

import json
import sys
from datetime import UTC, datetime

import gevent
from gevent import monkey
from gevent.pool import Pool

from core.base64url import encode
from core.database import Database
from core.metrics import Metrics
from sms.metrics import SmsMetrics
from sms.provider import SmsMessage
from sms.smpp.pdu_socket import SmscAddress
from tests.contract.fake_smsc import FakeSmsc, answer_together, receipt
from tests.contract.smpp_providers import build_provider
from tests.contract.tls import client_context, server_context

TEXTS = 100


def main(database_url: str, encryption: str) -> None:
    """Send a hundred texts that are answered only once all of them wait."""
    database, metrics = Database(database_url), SmsMetrics(Metrics())

    def clock() -> datetime:
        return datetime.now(UTC)

    turns = 0

    def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0.001)

    with FakeSmsc(server_context() if encryption == "tls" else None) as smsc:
        smsc.usual["submit_sm"] = answer_together(TEXTS)
        address = SmscAddress(
            "127.0.0.1", smsc.port, client_context() if encryption == "tls" else None
        )
        provider = build_provider(smsc, database, clock, metrics, address=address, window=TEXTS)

        def send(number: int) -> str:
            reference = encode(b"d" * 16 + number.to_bytes(16, "big"))
            return provider.send(SmsMessage("+4915112345678", "sms", "a text", "en", reference))

        others = gevent.spawn(count_turns)
        ids = Pool(TEXTS).map(send, range(TEXTS))
        statuses = [smsc.answered(smsc.deliver(short_message=receipt(name))) for name in ids]
        others.kill()
        provider.close()
    database.close()
    report = {
        "peak": smsc.peak,
        "sessions": len(smsc.sessions),
        "ids": len(set(ids)),
        "receipts": statuses.count(0),
        "cooperative": monkey.is_module_patched("socket") and turns > 1,
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[-2:])
