"""Twilio, through its official SDK: texts, calls, and what each response means.

A send is one request; a message that may have been sent is never sent again.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from logging import getLogger
from typing import Any, Self
from urllib.parse import urlsplit

import structlog
from twilio.http import HttpClient as TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client
from twilio.twiml.voice_response import VoiceResponse

from core.http_client import HttpClient, HttpResponse
from core.settings import SettingsError
from sms.http import request_once
from sms.provider import (
    BOTH,
    Ambiguous,
    Blocked,
    Rejected,
    SendFailure,
    SmsMessage,
    Unavailable,
    checked_message_id,
)
from sms.settings import SmsSettings
from sms.twilio.codes import BLOCKED, BUSY, REJECTED
from sms.twilio.voices import Voice, voice_of

log = structlog.get_logger()

CALLBACK_PATH = "/v1/callbacks/twilio/"
#: Limits of the ringing and of the call, which both cost money.
RINGING_SECONDS = 30
CALL_SECONDS = 120
CALL_EVENTS = ["initiated", "answered", "completed"]
#: Pause between the parts of a call: long enough to write a digit down.
PAUSE = "800ms"


class TwilioProvider:
    """Sends texts and calls through Twilio; built once, used by many requests at the same time.

    `sender` is an E.164 number, a name or a messaging service (`MG…`), `voice_sender` an E.164 number.
    Twilio reports deliveries to `public_url`, unless it cannot reach that.
    """

    name = "twilio"
    channels = BOTH

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        sender: str,
        voice_sender: str | None,
        api_url: str,
        connect_timeout: float,
        read_timeout: float,
        public_url: str,
        code_lifetime: int,
    ) -> None:
        http = _SdkRequests(api_url, (connect_timeout, read_timeout))
        self._client = Client(account_sid, auth_token, http_client=http)
        key = "messaging_service_sid" if sender.startswith("MG") else "from_"
        self._sender = {key: sender}
        self._voice_sender = voice_sender or sender
        self._code_lifetime = code_lifetime
        self._callback_base = public_url + CALLBACK_PATH if _is_public(public_url) else None
        if self._callback_base is None:
            log.warning("twilio.no_delivery_reports", reason="KITH_PUBLIC_URL is not public")

    @classmethod
    def from_settings(cls, settings: SmsSettings) -> Self:
        """Build the provider; raises SettingsError if the settings do not name Twilio."""
        account, token = settings.twilio_account_sid, settings.twilio_auth_token
        if not (account and token and settings.twilio_from):
            raise SettingsError("Twilio needs an account, an auth token and a sender")
        return cls(
            account_sid=account,
            auth_token=token.get_secret_value(),
            sender=settings.twilio_from,
            voice_sender=settings.twilio_voice_from,
            api_url=settings.twilio_api_url,
            connect_timeout=settings.twilio_connect_timeout,
            read_timeout=settings.twilio_read_timeout,
            public_url=settings.public_url,
            code_lifetime=settings.code_lifetime,
        )

    def send(self, message: SmsMessage) -> str:
        """Send one message and return its SID; raises SendFailure."""
        send = self._call if message.channel == "voice" else self._text
        try:
            return checked_message_id(send(message))
        except (ValueError, TypeError, AttributeError, RecursionError) as fault:
            # The SDK fails on a 2xx that is not the JSON it expects. Whoever answered accepted the request.
            raise Ambiguous("answer-unreadable") from fault

    def _text(self, message: SmsMessage) -> Any:
        created = self._client.messages.create(
            to=message.to,
            body=message.body,
            # An expired code in Twilio's queue is not worth its price.
            validity_period=self._code_lifetime,
            **self._sender,
            **self._callback(message),
        )
        return created.sid

    def _call(self, message: SmsMessage) -> Any:
        voice = voice_of(message.language)
        if voice is None:
            raise Unavailable("no-voice")
        callback: dict[str, Any] = dict(self._callback(message))
        if callback:
            callback["status_callback_event"] = CALL_EVENTS
        created = self._client.calls.create(
            to=message.to,
            from_=self._voice_sender,
            twiml=_say(message, voice),
            timeout=RINGING_SECONDS,
            time_limit=CALL_SECONDS,
            **callback,
        )
        return created.sid

    def _callback(self, message: SmsMessage) -> dict[str, str]:
        if self._callback_base is None:
            return {}
        return {"status_callback": self._callback_base + message.reference}


def _say(message: SmsMessage, voice: Voice) -> str:
    """Return the TwiML of a call: its parts with pauses between them, or its text if it has no parts."""
    response = VoiceResponse()
    say = response.say(language=voice.language, voice=voice.voice)
    first, *rest = message.spoken or (message.body,)
    say.nest(first)
    for part in rest:
        say.break_(time=PAUSE)
        say.nest(part)
    return str(response)


class _SdkRequests(TwilioHttpClient):  # type: ignore[misc, unused-ignore]
    """The SDK's HTTP client: pooled connections, one attempt a send, no logging.

    Failures are raised here, because the SDK's exceptions carry no headers.
    """

    def __init__(self, api_url: str, timeouts: tuple[float, float]) -> None:
        super().__init__(getLogger("twilio.http_client"), False)
        self._api_url = api_url
        self._client = HttpClient(TwilioProvider.name, timeouts)

    def request(
        self,
        method: str,
        uri: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """Make the SDK's request at the configured address; raises SendFailure unless it answers 2xx."""
        address = self._api_url + urlsplit(uri).path
        answer = request_once(
            self._client, method, address, params=params, data=data, headers=headers, auth=auth
        )
        if answer.status >= 300:
            raise _refusal(answer)
        return Response(answer.status, answer.text, answer.headers)


def _refusal(answer: HttpResponse) -> SendFailure:
    """Return Ambiguous if the message may have been sent, else the reason of the refusal."""
    code = _error_code(answer)
    name = str(code) if code else f"http-{answer.status}"
    if answer.maybe_processed and not (answer.status == 503 and code):
        return Ambiguous(name)
    if code in REJECTED:
        return Rejected(name)
    if code in BLOCKED:
        return Blocked(name)
    if answer.status not in (429, 503) and code not in BUSY:
        log.error("twilio.refused", status=answer.status, error_code=name)
    return Unavailable(name, retry_after=answer.retry_after())


def _error_code(answer: HttpResponse) -> int | None:
    """Return Twilio's error code in the body of a refusal; a proxy's answer has none."""
    code = (answer.document() or {}).get("code")
    return code if type(code) is int and 0 < code < 1_000_000 else None


def _is_public(url: str) -> bool:
    """Return whether Twilio may reach an address; it refuses sends with an unreachable callback."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(".localhost")
