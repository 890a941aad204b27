"""Delivery reports from the operator's own sender, signed by Standard Webhooks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import request

from core.api import Api
from core.parsing import read_body
from core.problems import BodyTooLarge
from core.standard_webhooks import SignedMessage, WebhookSecrets
from sms.delivery import DeliveryService, Outcome
from sms.problems import CallbackDuplicate, CallbackExpired, CallbackSignatureInvalid
from sms.schemas import WebhookReport
from sms.webhook.provider import WebhookProvider

MAX_REPORT_BYTES = 4096
#: The largest difference between a signature's timestamp and our clock.
TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class SenderAuthentication:
    """Authenticates requests of the sender; without secrets none is accepted."""

    secrets: WebhookSecrets
    clock: Callable[[], datetime]

    def sender(self) -> SignedMessage:
        """Return the signed message; raises a problem unless the sender signed it recently."""
        request.max_content_length = MAX_REPORT_BYTES
        message = self.secrets.verify(request.headers, read_body(keep=True))
        if message is None:
            raise CallbackSignatureInvalid(
                "It is not signed with the secret, or was altered on its way."
            )
        if abs(self.clock() - message.signed_at) > TOLERANCE:
            minutes = TOLERANCE // timedelta(minutes=1)
            raise CallbackExpired(
                f"Its timestamp is more than {minutes} minutes from this clock's time."
            )
        return message


def webhook_callbacks_api(
    deliveries: DeliveryService, authenticate: Callable[[], SignedMessage]
) -> Api:
    """Return the route of the sender's delivery reports."""
    api = Api(
        "webhook callbacks",
        __name__,
        description="Delivery reports from the operator's own sender",
        authenticate=authenticate,
        security=({"webhook_signature": []},),
        problems=(CallbackSignatureInvalid, CallbackExpired, BodyTooLarge),
    )

    @api.operation(
        "POST", "/callbacks/webhook", answer=None, status=204, problems=(CallbackDuplicate,)
    )
    def report_webhook_delivery(body: WebhookReport, caller: SignedMessage) -> None:
        """Accept a delivery report that is signed by Standard Webhooks, once."""
        outcome = Outcome(body.status, provider_message_id=body.id, error_code=body.error_code)
        deliveries.report(WebhookProvider.name, body.reference, outcome, digest=caller.digest)

    return api
