"""SMPP 3.4: texts over one bind to an SMSC, and what each of its answers means.

Owns the one submit_sm that a send makes. Refuses to make a second: what may have been submitted is never
submitted again, and a text that does not fit one message is not split.
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
from sms import gsm
from sms.metrics import SmsMetrics
from sms.provider import Ambiguous, Channel, SmsMessage, Unavailable
from sms.settings import SmsSettings
from sms.smpp_codes import send_failure
from sms.smpp_connection import SmppConnection, SmppCredentials, SmppTimeouts
from sms.smpp_inbox import SmppInbox
from sms.smpp_link import SmppLink
from sms.smpp_messages import PROVIDER, SmppMessages
from sms.smpp_receipts import ReceiptIds, canonical_id
from sms.smpp_socket import SmscAddress

log = structlog.get_logger()


class SourceAddress(NamedTuple):
    """Who a text is from, as SMPP writes it: type of number, numbering plan, address."""

    ton: int
    npi: int
    address: str

    @classmethod
    def read(cls, text: str, ton: int | None = None, npi: int | None = None) -> Self:
        """Read `+<E.164>`, a short code or a name; `ton` and `npi` overrule what that is commonly."""
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

    It binds when it is first used, and from then on stays bound, so that receipts come in.
    """

    name = PROVIDER
    channels: frozenset[Channel] = frozenset({"sms"})

    def __init__(
        self,
        messages: SmppMessages,
        metrics: SmsMetrics,
        *,
        address: SmscAddress,
        login: SmppCredentials,
        sender: SourceAddress,
        window: int,
        times: SmppTimeouts,
        receipt_ids: ReceiptIds,
        code_lifetime: int,
    ) -> None:
        self._messages = messages
        self._receipt_ids = receipt_ids
        self._times = times
        self._inbox = SmppInbox(messages, receipt_ids, metrics)
        self._link = SmppLink(
            partial(SmppConnection.bind, address, login, times, window, self._inbox), times, metrics
        )
        self._fields = {
            "source_addr_ton": sender.ton,
            "source_addr_npi": sender.npi,
            "source_addr": sender.address,
            "dest_addr_ton": consts.SMPP_TON_INTL,
            "dest_addr_npi": consts.SMPP_NPI_ISDN,
            # A code that has expired in the SMSC's queue is not worth its price.
            "validity_period": _relative_time(code_lifetime),
            "registered_delivery": consts.SMPP_SMSC_DELIVERY_RECEIPT_BOTH,
        }

    @classmethod
    def from_settings(
        cls, settings: SmsSettings, messages: SmppMessages, metrics: SmsMetrics
    ) -> Self:
        """Build it from the settings; raises SettingsError when they do not name an SMSC."""
        host, system_id = settings.smpp_host, settings.smpp_system_id
        password, sender = settings.smpp_password, settings.smpp_from
        if not (host and system_id and password and sender):
            raise SettingsError("SMPP needs a host, a system id, a password and a sender")
        tls = ssl.create_default_context() if settings.smpp_tls else None
        return cls(
            messages,
            metrics,
            address=SmscAddress(host, settings.smpp_port, tls),
            login=SmppCredentials(
                system_id, password.get_secret_value(), settings.smpp_system_type
            ),
            sender=SourceAddress.read(sender, settings.smpp_from_ton, settings.smpp_from_npi),
            window=settings.smpp_window,
            times=SmppTimeouts(
                connect=settings.smpp_connect_timeout,
                response=settings.smpp_response_timeout,
                idle=settings.smpp_idle_seconds,
            ),
            receipt_ids=settings.smpp_receipt_ids,
            code_lifetime=settings.code_lifetime,
        )

    def send(self, message: SmsMessage) -> str:
        """Hand over one text and give the SMSC's id of it; raises SendFailure."""
        started = time.monotonic()
        try:
            coding, octets = gsm.encode(message.body)
        except ValueError:
            log.error("smpp.refused", error_code="text-too-long")
            raise Unavailable("text-too-long") from None
        connection = self._link.connection(self._times.connect)
        answer = connection.submit(
            message.reference,
            max(0.0, started + self._times.connect - time.monotonic()),
            destination_addr=message.to.removeprefix("+"),
            data_coding=coding,
            short_message=octets,
            **self._fields,
        )
        if answer.status:
            raise send_failure(answer.status)
        if answer.message_id is None:
            raise Ambiguous("answer-unreadable")
        self._remember(answer.message_id, message.reference)
        return answer.message_id

    def close(self) -> None:
        """Unbind, and send no more."""
        self._link.close()
        self._inbox.close()

    def _remember(self, message_id: str, reference: str) -> None:
        """Let receipts find the send; without that it is sent all the same."""
        try:
            canonical = canonical_id(message_id, self._receipt_ids)
            self._messages.record_response(canonical, message_id, reference)
        except SQLAlchemyError as error:
            log.error("smpp.id_lost", error=type(error).__name__)


def _relative_time(seconds: int) -> str:
    """Write a span of less than a day as SMPP does (3.4, 7.1.1): YYMMDDhhmmss, tenths, offset, R."""
    hours, minutes = divmod(seconds // 60, 60)
    return f"000000{hours:02}{minutes:02}{seconds % 60:02}000R"
