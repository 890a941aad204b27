"""Delivery reports from the operator's sender: who may make one, and what it says of a send.

Owns how long a report may be on its way. Refuses whatever is not signed with the secret, was signed
long ago, or was taken before.
"""

from datetime import timedelta

from flask import current_app, request

from core.api import Api, read_body
from core.problems import BodyTooLarge
from core.standard_webhooks import SignedMessage, WebhookSecrets
from sms.delivery import Outcome
from sms.problems import CallbackDuplicate, CallbackExpired, CallbackSignatureInvalid
from sms.schemas import WebhookReport
from sms.webhook import WebhookProvider

MAX_REPORT_BYTES = 4096
#: How far the sender's clock and ours may be apart, the way included.
TOLERANCE = timedelta(minutes=5)


def authenticate_sender() -> SignedMessage:
    """Verify that the operator's sender signed the request, just now; raises a problem if not."""
    kith = current_app.extensions["kith"]
    request.max_content_length = MAX_REPORT_BYTES
    secrets = WebhookSecrets.of(kith.settings.webhook_secret, kith.settings.webhook_secret_previous)
    message = secrets.verify(request.headers, read_body(keep=True))
    if message is None:
        raise CallbackSignatureInvalid(
            "It is not signed with the secret, or was altered on its way."
        )
    if abs(kith.runtime.clock() - message.signed_at) > TOLERANCE:
        minutes = TOLERANCE // timedelta(minutes=1)
        raise CallbackExpired(
            f"Its timestamp is more than {minutes} minutes from this clock's time."
        )
    return message


webhook_callbacks_api = Api(
    "webhook callbacks",
    __name__,
    description="Delivery reports from the operator's own sender",
    authenticate=authenticate_sender,
    security=({"webhook_signature": []},),
    problems=(CallbackSignatureInvalid, CallbackExpired, BodyTooLarge),
)


@webhook_callbacks_api.operation(
    "POST", "/callbacks/webhook", answer=None, status=204, problems=(CallbackDuplicate,)
)
def take_webhook_report(body: WebhookReport, caller: SignedMessage) -> None:
    """Take a delivery report that is signed by Standard Webhooks, once."""
    outcome = Outcome(body.status, provider_message_id=body.id, error_code=body.error_code)
    current_app.extensions["kith"].sms.deliveries.report(
        WebhookProvider.name, body.reference, outcome, digest=caller.digest
    )
