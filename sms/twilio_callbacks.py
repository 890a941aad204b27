"""Delivery reports from Twilio: who may make one, and what it says of a send.

Owns the way from Twilio's words to ours. Refuses whatever its signature does not cover: without one
that fits, nothing is looked up, changed or told.
"""

import hashlib
import re

from flask import current_app, request
from pydantic import BaseModel, Field
from twilio.request_validator import RequestValidator

from core.api import Api
from core.problems import BodyTooLarge, MalformedRequest
from sms.delivery import Outcome
from sms.problems import CallbackDuplicate, CallbackSignatureInvalid
from sms.settings import SmsSettings
from sms.twilio import CALLBACK_PATH, TwilioProvider

MAX_FORM_BYTES = 16_384
MAX_FIELDS = 100

#: What the statuses of texts and calls are to us; the others tell nothing. That Twilio has it is
#: `sent`, which settles a send whose answer was lost.
STATUSES = {
    "accepted": "sent",
    "scheduled": "sent",
    "queued": "sent",
    "sending": "sent",
    "sent": "sent",
    "initiated": "sent",
    "ringing": "sent",
    "in-progress": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "completed": "delivered",
    "undelivered": "undelivered",
    "busy": "undelivered",
    "no-answer": "undelivered",
    "failed": "failed",
    "canceled": "failed",
}

callbacks_api = Api("callbacks", __name__, description="Delivery reports from SMS providers")


class CallbackPath(BaseModel):
    """The address that Twilio was given with one send."""

    reference: str = Field(description="Opaque name of the send: 43 base64url characters.")


@callbacks_api.operation(
    "POST",
    CALLBACK_PATH.removeprefix("/v1") + "<reference>",
    answer=None,
    status=204,
    problems=(CallbackSignatureInvalid, CallbackDuplicate, BodyTooLarge, MalformedRequest),
)
def take_twilio_report(path: CallbackPath) -> None:
    """Take a signed delivery report of a text or a call (Twilio's form encoding)."""
    kith = current_app.extensions["kith"]
    request.max_content_length = min(kith.settings.max_body_bytes, MAX_FORM_BYTES)
    signature = _authenticate(kith.settings, path.reference)
    form = request.form
    status = STATUSES.get(form.get("MessageStatus") or form.get("CallStatus", ""))
    if status is None:
        return
    outcome = Outcome(
        status,
        provider_message_id=_bounded(
            r"[A-Za-z0-9]{1,64}", form.get("MessageSid") or form.get("CallSid")
        ),
        error_code=_bounded(r"[0-9]{1,6}", form.get("ErrorCode")),
    )
    # The signature covers address and form, so the same one is the same report.
    once = hashlib.sha256(signature.encode()).digest()
    kith.sms.deliveries.report(TwilioProvider.name, path.reference, outcome, digest=once)


def _authenticate(settings: SmsSettings, reference: str) -> str:
    """Check the signature over the address that Twilio was given and every field of the form; give it.

    The address is the configured one: `Host` and `X-Forwarded-*` are the caller's to write.
    """
    if sum(len(values) for values in request.form.listvalues()) > MAX_FIELDS:
        raise MalformedRequest(f"A report has at most {MAX_FIELDS} fields.")
    address = settings.public_url + CALLBACK_PATH + reference
    if request.query_string:
        address += "?" + request.query_string.decode("ascii", "replace")
    signature = request.headers.get("X-Twilio-Signature", "")
    tokens = (settings.twilio_auth_token, settings.twilio_auth_token_previous)
    signed = any(
        RequestValidator(token.get_secret_value()).validate(address, request.form, signature)
        for token in tokens
        if token is not None
    )
    ours = request.form.get("AccountSid") == settings.twilio_account_sid
    if not (signed and ours and re.fullmatch(r"[A-Za-z0-9_-]{43}", reference)):
        raise CallbackSignatureInvalid(
            "It is not from the provider's account, or was altered on its way."
        )
    return signature


def _bounded(pattern: str, value: str | None) -> str | None:
    return value if value and re.fullmatch(pattern, value) else None
