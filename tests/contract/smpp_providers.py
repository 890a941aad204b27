"""SMPP providers for tests: built as the application builds its own, for a fake SMSC."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from core.database import Database
from sms.delivery import DeliveryService
from sms.metrics import SmsMetrics
from sms.smpp.connection import SmppCredentials, SmppTimeouts
from sms.smpp.messages import SmppMessages
from sms.smpp.pdu_socket import SmscAddress
from sms.smpp.provider import SmppProvider, SourceAddress
from tests.contract.fake_smsc import PASSWORD, SYSTEM_ID, FakeSmsc

#: Long enough for a busy machine, and with retries that keep no test waiting.
PATIENT = SmppTimeouts(connect=5, response=5, idle=60, first_retry=0.01, max_retry=0.02)


def build_provider(
    smsc: FakeSmsc,
    database: Database,
    clock: Callable[[], datetime],
    metrics: SmsMetrics,
    **changed: Any,
) -> SmppProvider:
    """Build a provider that talks to an SMSC, with other arguments where a test needs them."""
    arguments: dict[str, Any] = {
        "address": SmscAddress("127.0.0.1", smsc.port),
        "credentials": SmppCredentials(SYSTEM_ID, PASSWORD),
        "sender": SourceAddress.parse("Kith"),
        "window": 50,
        "timeouts": PATIENT,
        "receipt_ids": "same",
        "code_lifetime": 600,
    }
    deliveries = DeliveryService(database, clock, metrics)
    messages = SmppMessages(database, clock, deliveries, metrics)
    return SmppProvider(messages, metrics, **arguments | changed)
