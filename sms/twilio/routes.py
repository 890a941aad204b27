"""Delivery reports from Twilio. Nothing is read or changed unless the signature covers the whole report."""

import hashlib
import re

from flask import request
from pydantic import BaseModel, Field
from twilio.request_validator import RequestValidator

from core.api import Api
from core.problems import BodyTooLarge, MalformedRequest
from sms.delivery import DeliveryService, Outcome
from sms.problems import CallbackDuplicate, CallbackSignatureInvalid
from sms.settings import SmsSettings
from sms.twilio.provider import CALLBACK_PATH, TwilioProvider

MAX_FORM_BYTES = 16_384
MAX_FIELDS = 100

#: Our status for each status of a text or a call; others change nothing. A message that Twilio has is
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


class CallbackPath(BaseModel):
    """The path that Twilio got with one send."""

    reference: str = Field(description="Opaque name of the send: 43 base64url characters.")


def twilio_callbacks_api(deliveries: DeliveryService, settings: SmsSettings) -> Api:
    """Return the route of Twilio's delivery reports."""
    api = Api("callbacks", __name__, description="Delivery reports from SMS providers")

    @api.operation(
        "POST",
        CALLBACK_PATH.removeprefix("/v1") + "<reference>",
        answer=None,
        status=204,
        problems=(CallbackSignatureInvalid, CallbackDuplicate, BodyTooLarge, MalformedRequest),
    )
    def report_twilio_delivery(path: CallbackPath) -> None:
        """Accept a signed delivery report of a text or a call (Twilio's form encoding)."""
        request.max_content_length = min(settings.max_body_bytes, MAX_FORM_BYTES)
        signature = _authenticate(settings, path.reference)
        form = request.form
        status = STATUSES.get(form.get("MessageStatus") or form.get("CallStatus", ""))
        if status is None:
            return
        message_id = form.get("MessageSid") or form.get("CallSid")
        outcome = Outcome(
            status,
            provider_message_id=_matching(r"[A-Za-z0-9]{1,64}", message_id),
            error_code=_matching(r"[0-9]{1,6}", form.get("ErrorCode")),
        )
        # The signature covers the address and the form, so it identifies the report.
        digest = hashlib.sha256(signature.encode()).digest()
        deliveries.report(TwilioProvider.name, path.reference, outcome, digest=digest)

    return api


def _authenticate(settings: SmsSettings, reference: str) -> str:
    """Return the signature if it covers the address that Twilio got and every field of the form.

    The address is the configured one: `Host` and `X-Forwarded-*` are written by the caller.
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
    own_account = request.form.get("AccountSid") == settings.twilio_account_sid
    if not (signed and own_account and re.fullmatch(r"[A-Za-z0-9_-]{43}", reference)):
        raise CallbackSignatureInvalid(
            "It is not from the provider's account, or was altered on its way."
        )
    return signature


def _matching(pattern: str, value: str | None) -> str | None:
    return value if value and re.fullmatch(pattern, value) else None
