"""Twilio through its official SDK: texts, spoken codes, and what each of its answers means.

Owns the one request that a send makes. Refuses to make a second: what may have been sent is never
sent again.
"""

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from logging import getLogger
from ssl import SSLCertVerificationError
from typing import Any, Self
from urllib.parse import urlsplit

import requests
import structlog
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout, InvalidURL, ProxyError, ReadTimeout
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client
from twilio.twiml.voice_response import VoiceResponse
from urllib3.exceptions import HTTPError, LocationValueError, MaxRetryError, NewConnectionError

from core.settings import Settings, SettingsError
from sms.provider import BOTH, Ambiguous, Blocked, Message, Rejected, SendFailure, Unavailable
from sms.twilio_codes import BLOCKED, BUSY, REJECTED

log = structlog.get_logger()

CALLBACK_PATH = "/v1/callbacks/twilio/"
#: Connections that are kept open; each send that waits for its answer has one.
CONNECTIONS = 1000
LONGEST_RETRY = 3600
LONGEST_SID = 64
#: A call rings, and once taken lasts, no longer than this: both cost money.
RINGING_SECONDS = 30
CALL_SECONDS = 120
CALL_EVENTS = ["initiated", "answered", "completed"]

#: Languages that Twilio knows under a name of its own, or that have no voice unless one is named.
VOICES = {
    "ar-XA": ("ar-XA", "Google.ar-XA-Standard-A"),
    "zh-CN": ("cmn-CN", "Google.cmn-CN-Standard-A"),
}


class TwilioProvider:
    """Sends texts and calls through Twilio; built once, used by many requests at the same time.

    `sender` is an E.164 number, a name or a messaging service (`MG…`), `voice_sender` an E.164
    number. Deliveries are reported below `public_url`, unless Twilio cannot reach that.
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
        http = _OneRequest(api_url, (connect_timeout, read_timeout))
        self._client = Client(account_sid, auth_token, http_client=http)
        key = "messaging_service_sid" if sender.startswith("MG") else "from_"
        self._sender = {key: sender}
        self._voice_sender = voice_sender or sender
        self._code_lifetime = code_lifetime
        self._callback_base = public_url + CALLBACK_PATH if _is_public(public_url) else None
        if self._callback_base is None:
            log.warning("twilio.no_delivery_reports", reason="KITH_PUBLIC_URL is not public")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build it from the settings; raises SettingsError when they do not name Twilio."""
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

    def send(self, message: Message) -> str:
        """Hand over one message and give its SID; raises SendFailure."""
        send = self._call if message.channel == "voice" else self._text
        try:
            sid = send(message)
        except (ValueError, TypeError, AttributeError, RecursionError) as fault:
            # The SDK chokes on a 2xx that is not the JSON it expects: Twilio, or whoever
            # answered for it, took the request all the same.
            raise Ambiguous("answer-unreadable") from fault
        if not isinstance(sid, str) or not 1 <= len(sid) <= LONGEST_SID:
            raise Ambiguous("answer-unreadable")
        return sid

    def _text(self, message: Message) -> Any:
        created = self._client.messages.create(
            to=message.to,
            body=message.body,
            # A code that has expired in Twilio's queue is not worth its price.
            validity_period=self._code_lifetime,
            **self._sender,
            **self._callback(message),
        )
        return created.sid

    def _call(self, message: Message) -> Any:
        language, voice = VOICES.get(message.language, (message.language, None))
        twiml = VoiceResponse()
        twiml.say(message.body, language=language, voice=voice)
        callback: dict[str, Any] = dict(self._callback(message))
        if callback:
            callback["status_callback_event"] = CALL_EVENTS
        created = self._client.calls.create(
            to=message.to,
            from_=self._voice_sender,
            twiml=str(twiml),
            timeout=RINGING_SECONDS,
            time_limit=CALL_SECONDS,
            **callback,
        )
        return created.sid

    def _callback(self, message: Message) -> dict[str, str]:
        if self._callback_base is None:
            return {}
        return {"status_callback": self._callback_base + message.reference}


class _OneRequest(HttpClient):  # type: ignore[misc, unused-ignore]
    """The SDK's way to the network: pooled connections, one attempt a send, nothing logged.

    Faults are judged here and not at the SDK's exceptions, because those carry no headers.
    """

    def __init__(self, api_url: str, timeouts: tuple[float, float]) -> None:
        super().__init__(getLogger("twilio.http_client"), False)
        self._api_url = api_url
        self._timeouts = timeouts
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=CONNECTIONS, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

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
        """Make the SDK's request at the configured address; raises SendFailure for all but 2xx."""
        try:
            answer = self._session.request(
                method,
                self._api_url + urlsplit(uri).path,
                params=params,  # type: ignore[arg-type]
                data=data,
                headers=headers,
                auth=auth,
                timeout=self._timeouts,
                allow_redirects=False,
            )
        except (requests.RequestException, HTTPError) as fault:
            raise _judge_fault(fault) from fault
        answer.encoding = "utf-8"
        if answer.status_code >= 300:
            raise _judge_refusal(answer)
        return Response(answer.status_code, answer.text, answer.headers)


def _judge_refusal(answer: requests.Response) -> SendFailure:
    """Tell what was refused for certain, and why, from what may have gone through."""
    status, code = answer.status_code, _error_code(answer.text)
    name = str(code) if code else f"http-{status}"
    if status == 303 or (status >= 500 and not (status == 503 and code)):
        # Any hop may have passed the request on before it failed.
        return Ambiguous(name)
    if code in REJECTED:
        return Rejected(name)
    if code in BLOCKED:
        return Blocked(name)
    if status not in (429, 503) and code not in BUSY:
        log.error("twilio.refused", status=status, error_code=name)
    return Unavailable(name, retry_after=_retry_after(answer.headers))


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Read Retry-After as seconds or as a date (RFC 9110, 10.2.3), within bounds.

    A date is measured against the answer's own `Date`, so no two clocks need to agree.
    """
    field = headers.get("Retry-After", "").strip()
    if field.isascii() and field.isdigit():
        # Slicing keeps int() away from a field of thousands of digits.
        return min(int(field[:9]), LONGEST_RETRY)
    try:
        until, now = parsedate_to_datetime(field), parsedate_to_datetime(headers.get("Date", ""))
        seconds = int(until.timestamp() - now.timestamp())
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 1), LONGEST_RETRY)


def _judge_fault(fault: requests.RequestException | HTTPError) -> SendFailure:
    """Tell what never left this host from what may have arrived."""
    wrapped = fault.args[0] if fault.args else None
    reason = wrapped.reason if isinstance(wrapped, MaxRetryError) else wrapped
    if isinstance(fault, ConnectTimeout):
        return Unavailable("connect-timeout")
    unaddressed = isinstance(fault, ProxyError | InvalidURL | LocationValueError)
    if unaddressed or isinstance(reason, NewConnectionError):
        return Unavailable("connect-failed")
    if isinstance(reason, Exception) and isinstance(_first(reason), SSLCertVerificationError):
        log.error("twilio.refused", error_code="certificate-invalid")
        return Unavailable("certificate-invalid")
    return Ambiguous("read-timeout" if isinstance(fault, ReadTimeout) else "connection-lost")


def _first(error: Exception) -> object:
    return error.args[0] if error.args else None


def _error_code(body: str) -> int | None:
    """Find Twilio's error code in the body of a refusal; proxies in between have none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    code = document.get("code") if isinstance(document, dict) else None
    return code if type(code) is int and 0 < code < 1_000_000 else None


def _is_public(url: str) -> bool:
    """Say whether Twilio could reach an address; it refuses a send whose callback it cannot."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(".localhost")
