"""The SMPP 3.4 provider: texts over one bind to an SMSC.

A send is one submit_sm; a text that may have been submitted is never submitted again, and none is split.
"""

import re
import ssl
import time
from functools import partial
from typing import NamedTuple, Self

import structlog
from smpplib import consts
from sqlalchemy.exc import SQLAlchemyError

from core.settings import SettingsError
from sms.metrics import SmsMetrics
from sms.provider import Ambiguous, Channel, SmsMessage, Unavailable
from sms.settings import SmsSettings
from sms.smpp import gsm
from sms.smpp.codes import send_failure
from sms.smpp.connection import SmppConnection, SmppCredentials, SmppTimeouts
from sms.smpp.inbox import SmppInbox
from sms.smpp.link import SmppLink
from sms.smpp.messages import PROVIDER, SmppMessages
from sms.smpp.pdu_socket import SmscAddress
from sms.smpp.receipts import ReceiptIds, canonical_id

log = structlog.get_logger()


class SourceAddress(NamedTuple):
    """The sender of a text: type of number, numbering plan and address."""

    ton: int
    npi: int
    address: str

    @classmethod
    def parse(cls, text: str, ton: int | None = None, npi: int | None = None) -> Self:
        """Parse `+<E.164>`, a short code or a name; `ton` and `npi` override its usual values."""
        if text.startswith("+"):
            common = cls(consts.SMPP_TON_INTL, consts.SMPP_NPI_ISDN, text[1:])
        elif re.fullmatch("[0-9]+", text):
            common = cls(consts.SMPP_TON_NWSPEC, consts.SMPP_NPI_UNK, text)
        else:
            common = cls(consts.SMPP_TON_ALNUM, consts.SMPP_NPI_UNK, text)
        return cls(
            common.ton if ton is None else ton,
            common.npi if npi is None else npi,
            common.address,
        )


class SmppProvider:
    """Sends texts through an SMSC; built once, used by many requests at the same time.

    It binds when it is first used and stays bound, so that receipts arrive.
    """

    name = PROVIDER
    channels: frozenset[Channel] = frozenset({"sms"})

    def __init__(
        self,
        messages: SmppMessages,
        metrics: SmsMetrics,
        *,
        address: SmscAddress,
        credentials: SmppCredentials,
        sender: SourceAddress,
        window: int,
        timeouts: SmppTimeouts,
        receipt_ids: ReceiptIds,
        code_lifetime: int,
    ) -> None:
        self._messages = messages
        self._receipt_ids = receipt_ids
        self._timeouts = timeouts
        self._inbox = SmppInbox(messages, receipt_ids, metrics)
        self._link = SmppLink(
            partial(SmppConnection.bind, address, credentials, timeouts, window, self._inbox),
            timeouts,
            metrics,
        )
        self._fields = {
            "source_addr_ton": sender.ton,
            "source_addr_npi": sender.npi,
            "source_addr": sender.address,
            "dest_addr_ton": consts.SMPP_TON_INTL,
            "dest_addr_npi": consts.SMPP_NPI_ISDN,
            # An expired code in the SMSC's queue is not worth its price.
            "validity_period": _relative_time(code_lifetime),
            "registered_delivery": consts.SMPP_SMSC_DELIVERY_RECEIPT_BOTH,
        }

    @classmethod
    def from_settings(
        cls, settings: SmsSettings, messages: SmppMessages, metrics: SmsMetrics
    ) -> Self:
        """Build the provider; raises SettingsError if the settings do not name an SMSC."""
        host, system_id = settings.smpp_host, settings.smpp_system_id
        password, sender = settings.smpp_password, settings.smpp_from
        if not (host and system_id and password and sender):
            raise SettingsError("SMPP needs a host, a system id, a password and a sender")
        tls = ssl.create_default_context() if settings.smpp_tls else None
        return cls(
            messages,
            metrics,
            address=SmscAddress(host, settings.smpp_port, tls),
            credentials=SmppCredentials(
                system_id, password.get_secret_value(), settings.smpp_system_type
            ),
            sender=SourceAddress.parse(sender, settings.smpp_from_ton, settings.smpp_from_npi),
            window=settings.smpp_window,
            timeouts=SmppTimeouts(
                connect=settings.smpp_connect_timeout,
                response=settings.smpp_response_timeout,
                idle=settings.smpp_idle_seconds,
            ),
            receipt_ids=settings.smpp_receipt_ids,
            code_lifetime=settings.code_lifetime,
        )

    def send(self, message: SmsMessage) -> str:
        """Send one text and return the SMSC's id of it; raises SendFailure."""
        started = time.monotonic()
        try:
            coding, octets = gsm.encode(message.body)
        except ValueError:
            log.error("smpp.refused", error_code="text-too-long")
            raise Unavailable("text-too-long") from None
        connection = self._link.connection(self._timeouts.connect)
        answer = connection.submit(
            message.reference,
            max(0.0, started + self._timeouts.connect - time.monotonic()),
            destination_addr=message.to.removeprefix("+"),
            data_coding=coding,
            short_message=octets,
            **self._fields,
        )
        if answer.status:
            raise send_failure(answer.status)
        if answer.message_id is None:
            raise Ambiguous("answer-unreadable")
        self._store_id(answer.message_id, message.reference)
        return answer.message_id

    def close(self) -> None:
        """Unbind; nothing is sent after that."""
        self._link.close()
        self._inbox.close()

    def _store_id(self, message_id: str, reference: str) -> None:
        """Store the message id for receipts; a failure does not change the send."""
        try:
            canonical = canonical_id(message_id, self._receipt_ids)
            self._messages.record_response(canonical, message_id, reference)
        except SQLAlchemyError as error:
            log.error("smpp.id_lost", error=type(error).__name__)


def _relative_time(seconds: int) -> str:
    """Return a duration under a day in SMPP's format (3.4, 7.1.1): YYMMDDhhmmss, tenths, offset, R."""
    hours, minutes = divmod(seconds // 60, 60)
    return f"000000{hours:02}{minutes:02}{seconds % 60:02}000R"
