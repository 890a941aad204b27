"""Twilio's provider through the real SDK, against a local server that speaks Twilio's API."""

import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from core.settings import SettingsError
from settings import Settings
from sms.provider import Ambiguous, Blocked, Rejected, SendFailure, SmsMessage, Unavailable
from sms.twilio.codes import BLOCKED, BUSY, REJECTED
from sms.twilio.provider import TwilioProvider
from sms.twilio.voices import VOICES, voice_of
from tests.contract import twilio_say
from tests.contract.fake_http import Answer
from tests.contract.fake_twilio import ACCOUNT_SID, AUTH_TOKEN, FakeTwilio, refusal
from verification.catalogues import messages

REFERENCE = "r" * 43
NUMBER, CODE = "+4915112345678", "314159"
TEXT = SmsMessage(NUMBER, "sms", f"{CODE} is your Kith code.", "en", REFERENCE)
CALL = SmsMessage(
    NUMBER,
    "voice",
    "Your Q & A code is: 3, 1, 4; again: 3, 1, 4; <keep> it.",
    "de",
    REFERENCE,
    ("Your Q & A code is:", "3", "1", "4", "again:", "3", "1", "4", "<keep> it."),
)

Build = Callable[..., TwilioProvider]


@pytest.fixture
def build(twilio: FakeTwilio) -> Build:
    """Build providers that talk to the fake."""

    def make(**changed: Any) -> TwilioProvider:
        arguments: dict[str, Any] = {
            "account_sid": ACCOUNT_SID,
            "auth_token": AUTH_TOKEN,
            "sender": "+15005550006",
            "voice_sender": None,
            "api_url": twilio.url,
            "connect_timeout": 10,
            "read_timeout": 10,
            "public_url": "https://id.example.com",
            "code_lifetime": 600,
        }
        return TwilioProvider(**arguments | changed)

    return make


def failure(provider: TwilioProvider, message: SmsMessage = TEXT) -> SendFailure:
    """Send what must fail and give the failure."""
    with pytest.raises(SendFailure) as caught:
        provider.send(message)
    return caught.value


def test_text_is_sent_as_given(twilio: FakeTwilio, build: Build) -> None:
    """A text arrives once, complete and with the address of its delivery reports."""
    sid = build().send(TEXT)

    assert sid == f"SM{1:032x}"
    [request] = twilio.received
    assert request.path == f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
    assert request.form == {
        "To": [NUMBER],
        "From": ["+15005550006"],
        "Body": [TEXT.body],
        "StatusCallback": [f"https://id.example.com/v1/callbacks/twilio/{REFERENCE}"],
        "ValidityPeriod": ["600"],
    }


def test_text_in_any_script_survives(twilio: FakeTwilio, build: Build) -> None:
    """Characters beyond ASCII and line ends arrive as they were."""
    body = "123456 是您的 Kith 验证码。\n@example.com #123456"

    build().send(SmsMessage(NUMBER, "sms", body, "zh", REFERENCE))

    assert twilio.received[0].form["Body"] == [body]


def test_messaging_service_sends_texts(twilio: FakeTwilio, build: Build) -> None:
    """A sender that is a messaging service is named as one."""
    service = "MG" + "a" * 32

    build(sender=service).send(TEXT)

    assert twilio.received[0].form["MessagingServiceSid"] == [service]
    assert "From" not in twilio.received[0].form


def test_call_speaks_its_text(twilio: FakeTwilio, build: Build) -> None:
    """A call says its parts with pauses, in its language, rings and lasts for a bounded time."""
    sid = build(voice_sender="+15005550009").send(CALL)

    assert sid == f"CA{1:032x}"
    [request] = twilio.received
    assert request.path == f"/2010-04-01/Accounts/{ACCOUNT_SID}/Calls.json"
    form = request.form
    twiml = form.pop("Twiml")[0]
    assert form == {
        "To": [NUMBER],
        "From": ["+15005550009"],
        "Timeout": ["30"],
        "TimeLimit": ["120"],
        "StatusCallback": [f"https://id.example.com/v1/callbacks/twilio/{REFERENCE}"],
        "StatusCallbackEvent": ["initiated", "answered", "completed"],
    }
    response = ElementTree.fromstring(twiml)
    assert response.tag == "Response"
    [say] = response
    assert (say.tag, say.attrib) == (
        "Say",
        {"language": "de-DE", "voice": "Google.de-DE-Standard-A"},
    )
    assert [say.text, *(pause.tail for pause in say)] == list(CALL.spoken)
    assert {(pause.tag, pause.attrib["time"]) for pause in say} == {("break", "800ms")}


def test_call_says_its_text_when_it_has_no_parts(twilio: FakeTwilio, build: Build) -> None:
    """What comes without parts is said in one."""
    build().send(replace(CALL, spoken=()))

    [say] = ElementTree.fromstring(twilio.received[0].form["Twiml"][0])
    assert (say.text, list(say)) == (CALL.body, [])


def test_call_in_a_language_without_a_voice(twilio: FakeTwilio, build: Build) -> None:
    """It is not made: another provider may have the voice."""
    with pytest.raises(Unavailable) as refused:
        build().send(replace(CALL, language="fa-IR"))

    assert refused.value.error_code == "no-voice"
    assert twilio.received == []


@pytest.mark.parametrize(
    ("language", "voice"),
    [
        ("de", ("de-DE", "Google.de-DE-Standard-A")),
        ("de-CH", ("de-DE", "Google.de-DE-Standard-A")),
        ("de-AT", ("de-AT", "Polly.Hannah-Neural")),
        ("pt-PT-AO", ("pt-PT", "Google.pt-PT-Standard-A")),
        ("zh-Hans-CN", ("cmn-CN", "Google.cmn-CN-Standard-A")),
        ("zh-Hant-TW", ("cmn-TW", "Google.cmn-TW-Standard-A")),
        ("zh-Hant-HK", ("yue-HK", "Google.yue-HK-Standard-A")),
        ("sr-Latn-ME", ("sr-RS", "Google.sr-RS-Standard-A")),
        ("hr", ("sr-RS", "Google.sr-RS-Standard-A")),
        ("fa", None),
        ("", None),
    ],
)
def test_voices(language: str, voice: tuple[str, str] | None) -> None:
    """A call speaks with the voice of the region where there is one, or of the language."""
    assert voice_of(language) == voice


def test_every_language_of_calls_has_a_voice() -> None:
    """Whatever is written for calls can be spoken; what cannot is not written."""
    spoken = {language for language, wording in messages().items() if wording.call}
    assert {language for language in messages() if voice_of(language)} == spoken


def test_every_voice_is_one_of_twilio() -> None:
    """Each language and voice that is sent is on Twilio's own list, and they belong together."""
    for voice in VOICES.values():
        assert voice.language in twilio_say.LANGUAGES
        if voice.voice in twilio_say.POLLY:
            assert twilio_say.POLLY[voice.voice] == voice.language
        else:
            assert voice.voice in twilio_say.GOOGLE
            assert voice.voice.startswith(f"Google.{voice.language}-")


def test_call_uses_the_text_sender_by_default(twilio: FakeTwilio, build: Build) -> None:
    """Without a number for calls, calls come from the number for texts."""
    build().send(CALL)

    assert twilio.received[0].form["From"] == ["+15005550006"]


@pytest.mark.parametrize(
    "public_url",
    [
        "http://127.0.0.1:8000",
        "http://localhost",
        "http://kith:80",
        "http://10.1.2.3",
        "http://[::1]",
    ],
)
def test_no_reports_to_an_unreachable_address(
    twilio: FakeTwilio, build: Build, public_url: str
) -> None:
    """Twilio refuses sends whose callback it cannot reach, so none is asked for."""
    provider = build(public_url=public_url)
    provider.send(TEXT)
    provider.send(CALL)

    assert [request.form.get("StatusCallback") for request in twilio.received] == [None, None]


def test_settings_are_enough(twilio: FakeTwilio) -> None:
    """The provider is built from settings alone, the API's base address included."""
    settings = Settings.model_validate(
        {
            "sms_provider": "twilio",
            "twilio_account_sid": ACCOUNT_SID,
            "twilio_auth_token": AUTH_TOKEN,
            "twilio_from": "+15005550006",
            "twilio_api_url": twilio.url + "/",
        }
    )

    assert TwilioProvider.from_settings(settings).send(TEXT).startswith("SM")


def test_settings_without_twilio_are_refused() -> None:
    """Settings that name another provider build no Twilio."""
    with pytest.raises(SettingsError, match="auth token"):
        TwilioProvider.from_settings(Settings.model_validate({}))


def test_region_of_the_environment_is_not_used(
    twilio: FakeTwilio, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables of the SDK's own do not send numbers to a host that no setting names."""
    monkeypatch.setenv("TWILIO_REGION", "au1")
    monkeypatch.setenv("TWILIO_EDGE", "sydney")

    build().send(TEXT)

    assert len(twilio.received) == 1


@pytest.mark.parametrize(
    ("codes", "expected"), [(REJECTED, Rejected), (BLOCKED, Blocked), (BUSY, Unavailable)]
)
def test_error_codes(
    twilio: FakeTwilio, build: Build, codes: frozenset[int], expected: type[SendFailure]
) -> None:
    """Each of Twilio's error codes ends the send as the table says, with its code kept."""
    provider = build()
    for code in codes:
        twilio.next(refusal(400, code))
        fault = failure(provider)
        assert (type(fault), fault.error_code) == (expected, str(code))
    assert len(twilio.received) == len(codes)


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, 20003), (403, 20003), (404, 20404), (400, 21606), (400, 21609), (400, 99999), (410, 1)],
)
def test_other_refusals_are_the_operators_business(
    twilio: FakeTwilio,
    build: Build,
    capsys: pytest.CaptureFixture[str],
    status: int,
    code: int,
) -> None:
    """A refusal of our account, or an unknown one, sent nothing, and the operator is told."""
    twilio.next(refusal(status, code))

    fault = failure(build())

    assert (type(fault), fault.error_code, fault.retry_after) == (Unavailable, str(code), None)
    assert "twilio.refused" in capsys.readouterr().out


def test_wrong_token_is_unavailable(twilio: FakeTwilio, build: Build) -> None:
    """Credentials that Twilio does not take make the provider unavailable."""
    fault = failure(build(auth_token="wrong"))

    assert (type(fault), fault.error_code) == (Unavailable, "20003")


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("7", 7),
        ("0", 0),
        ("86400", 3600),
        ("9" * 5000, 3600),
        ("Sun, 22 Nov 2026 10:21:00 GMT", 30),
        ("Sun, 22 Nov 2026 10:00:00 GMT", 1),
        ("Sun, 22 Nov 2027 10:00:00 GMT", 3600),
        ("Sun, 99 Nov 2026 10:00:00 GMT", None),
        ("-5", None),
        ("soon", None),
        ("٣", None),
    ],
)
def test_retry_after_is_honoured(
    twilio: FakeTwilio, build: Build, field: str, expected: int | None
) -> None:
    """429 says when to come back: seconds or a date, within bounds, rubbish ignored."""
    twilio.next(refusal(429, 20429, {"Retry-After": field.encode().decode("latin-1")}))

    fault = failure(build())

    assert (type(fault), fault.error_code, fault.retry_after) == (Unavailable, "20429", expected)


def test_429_without_a_document(twilio: FakeTwilio, build: Build) -> None:
    """A proxy's own 429 counts as well."""
    twilio.next(Answer(429, b"<html>", {"Retry-After": "3", "Content-Type": "text/html"}))

    fault = failure(build())

    assert (type(fault), fault.error_code, fault.retry_after) == (Unavailable, "http-429", 3)


def test_503_of_twilio_itself_sent_nothing(twilio: FakeTwilio, build: Build) -> None:
    """A 503 in Twilio's own words is a refusal."""
    twilio.next(refusal(503, 20503, {"Retry-After": "12"}))

    fault = failure(build())

    assert (type(fault), fault.error_code, fault.retry_after) == (Unavailable, "20503", 12)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (refusal(500, 20500), "20500"),
        (refusal(502, 20500), "20500"),
        (refusal(500, 21211), "21211"),
        (Answer(502, b"Bad Gateway"), "http-502"),
        (Answer(503, b"no server is available"), "http-503"),
        (Answer(503, b'{"code": "21211"}'), "http-503"),
        (Answer(503, b'{"code": true}'), "http-503"),
        (Answer(503, b'{"code": 1e99}'), "http-503"),
        (Answer(503, b'["code"]'), "http-503"),
        (Answer(504, b""), "http-504"),
        (Answer(303, b"", {"Location": "/elsewhere"}), "http-303"),
        (Answer(303, b"", {"Location": "http://["}), "http-303"),
    ],
)
def test_faults_behind_the_door_are_ambiguous(
    twilio: FakeTwilio, build: Build, answer: Answer, name: str
) -> None:
    """What failed after it was passed on may have been sent, and is not sent again."""
    twilio.next(answer)

    fault = failure(build())

    assert (type(fault), fault.error_code) == (Ambiguous, name)
    assert len(twilio.received) == 1


def test_redirect_is_not_followed(twilio: FakeTwilio, build: Build) -> None:
    """A redirect was not handled by Twilio, and numbers are not sent where it points."""
    twilio.next(Answer(307, b"", {"Location": twilio.url + "/elsewhere"}))

    fault = failure(build())

    assert (type(fault), fault.error_code) == (Unavailable, "http-307")
    assert len(twilio.received) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>welcome</html>",
        b"[]",
        b"null",
        b"{}",
        b'{"sid": null}',
        b'{"sid": ""}',
        b'{"sid": 5}',
        b'{"sid": "' + b"S" * 65 + b'"}',
        b'{"sid": "SM\\u0000"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("message", [TEXT, CALL], ids=["sms", "voice"])
def test_unreadable_receipt_is_ambiguous(
    twilio: FakeTwilio, build: Build, body: bytes, message: SmsMessage
) -> None:
    """A 2xx without a receipt in it was taken by somebody."""
    twilio.next(Answer(201, body))

    fault = failure(build(), message)

    assert (type(fault), fault.error_code) == (Ambiguous, "answer-unreadable")
    assert len(twilio.received) == 1


def test_read_timeout_is_ambiguous(twilio: FakeTwilio, build: Build) -> None:
    """An answer that comes too late leaves the send unknown; exactly one request arrived."""
    twilio.next(Answer(delay=0.6))

    fault = failure(build(read_timeout=0.2))

    assert (type(fault), fault.error_code) == (Ambiguous, "read-timeout")
    time.sleep(0.7)
    assert len(twilio.received) == 1


def test_connection_lost_is_ambiguous(twilio: FakeTwilio, build: Build) -> None:
    """A connection that breaks after the request leaves the send unknown; it is not replayed."""
    twilio.next(Answer(drop=True))

    fault = failure(build())

    assert (type(fault), fault.error_code) == (Ambiguous, "connection-lost")
    assert len(twilio.received) == 1


def test_lost_pooled_connection_is_not_replayed(twilio: FakeTwilio, build: Build) -> None:
    """A connection that was good for one send and breaks in the next is not tried again."""
    provider = build()
    provider.send(TEXT)
    twilio.next(Answer(drop=True))

    fault = failure(provider)

    assert (type(fault), fault.error_code) == (Ambiguous, "connection-lost")
    assert len(twilio.received) == 2


def test_dripping_answer_is_ambiguous(twilio: FakeTwilio, build: Build) -> None:
    """An answer of which each byte comes in time, but the whole does not, is not waited for."""
    twilio.next(Answer(201, b'{"sid": "SM1"}' + b" " * 10_000, drip=0.05))

    fault = failure(build(read_timeout=0.4))

    assert (type(fault), fault.error_code) == (Ambiguous, "read-timeout")


def test_answer_without_end_is_ambiguous(twilio: FakeTwilio, build: Build) -> None:
    """An answer that is too long is not read to its end; the next send has a connection of its own."""
    provider = build()
    twilio.next(Answer(201, b'{"sid": "SM1", "more": "' + b"x" * 200_000 + b'"}'))

    fault = failure(provider)

    assert (type(fault), fault.error_code) == (Ambiguous, "answer-unreadable")
    assert provider.send(TEXT) == f"SM{2:032x}"
    assert twilio.received[0].port != twilio.received[1].port


def test_connections_are_kept(twilio: FakeTwilio, build: Build) -> None:
    """One connection serves send after send, refusals among them."""
    provider = build()
    provider.send(TEXT)
    twilio.next(refusal(429, 20429), Answer(307, b"elsewhere", {"Location": "/elsewhere"}))
    failure(provider)
    failure(provider)
    provider.send(TEXT)

    assert len(twilio.received) == 4
    assert len({request.port for request in twilio.received}) == 1


def test_receipt_cut_short_is_ambiguous(twilio: FakeTwilio, build: Build) -> None:
    """An answer that ends in the middle leaves the send unknown."""
    twilio.next(Answer(201, b'{"sid": "SM', cut_body=True))

    fault = failure(build())

    assert (type(fault), fault.error_code) == (Ambiguous, "connection-lost")


def test_refused_connection_sent_nothing(build: Build) -> None:
    """With nobody listening, nothing was sent."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    fault = failure(build(api_url=f"http://127.0.0.1:{port}"))

    assert (type(fault), fault.error_code) == (Unavailable, "connect-failed")


@pytest.mark.parametrize("host", ["twilio.invalid", "a..b", "x" * 64 + ".example"])
def test_unknown_host_sent_nothing(build: Build, host: str) -> None:
    """Without an address, nothing was sent."""
    fault = failure(build(api_url=f"http://{host}"))

    assert (type(fault), fault.error_code) == (Unavailable, "connect-failed")


def test_untrusted_certificate_sends_nothing(
    build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever cannot prove to be Twilio gets no number, and the operator is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("untrusted_certificate.pem"))
    with FakeTwilio(context) as stranger:
        fault = failure(build(api_url=stranger.url))
        assert stranger.received == []

    assert (type(fault), fault.error_code) == (Unavailable, "certificate-invalid")
    assert "twilio.refused" in capsys.readouterr().out


def test_connect_timeout_sent_nothing(build: Build) -> None:
    """A host that does not take the connection in time was sent nothing, and waits no longer."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        started = time.monotonic()
        fault = failure(
            build(api_url=f"http://127.0.0.1:{address[1]}", connect_timeout=0.3, read_timeout=60)
        )
        for one in waiting:
            one.close()

    assert (type(fault), fault.error_code) == (Unavailable, "connect-timeout")
    assert time.monotonic() - started < 30


def test_after_a_fault_the_next_send_works(twilio: FakeTwilio, build: Build) -> None:
    """A broken connection does not stay in the pool."""
    provider = build()
    twilio.next(Answer(drop=True), refusal(503, 20503))
    failure(provider)
    failure(provider)

    assert provider.send(TEXT) == f"SM{3:032x}"


def test_many_sends_at_once_keep_their_own_answers(twilio: FakeTwilio, build: Build) -> None:
    """Sends in parallel do not see each other's refusals and headers."""
    provider = build()
    twilio.next(*(refusal(429, 20429, {"Retry-After": str(i)}) for i in range(1, 33)))

    with ThreadPoolExecutor(32) as pool:
        faults = list(pool.map(lambda _: failure(provider), range(32)))

    assert sorted(fault.retry_after or 0 for fault in faults) == list(range(1, 33))


def test_cookies_are_not_kept(twilio: FakeTwilio, build: Build) -> None:
    """Nothing that one answer sets goes out with the next person's number."""
    provider = build()
    twilio.next(refusal(400, 21211, {"Set-Cookie": "visitor=1; Path=/"}))
    failure(provider)
    provider.send(TEXT)

    assert "Cookie" not in twilio.received[1].headers


def test_nothing_is_logged_of_a_text(
    twilio: FakeTwilio, build: Build, all_logged: Callable[[], str]
) -> None:
    """With every logger at its most talkative, no number, code, text or token is logged."""
    provider = build()
    provider.send(TEXT)
    provider.send(CALL)
    twilio.next(
        refusal(400, 21211, message=f"The number {NUMBER} is not valid"),
        refusal(401, 20003, message=f"{NUMBER}: {TEXT.body}"),
        Answer(drop=True),
    )
    for _ in range(3):
        failure(provider)

    written = all_logged()
    assert "Messages.json" in written
    for secret in (NUMBER, NUMBER[1:], CODE, "Kith code", "3, 1, 4", AUTH_TOKEN, REFERENCE):
        assert secret not in written


def test_failures_name_no_number(twilio: FakeTwilio, build: Build) -> None:
    """What Twilio says of a number stays out of the failure, which ends in logs and tables."""
    twilio.next(refusal(400, 21211, message=f"The 'To' number {NUMBER} is not valid"))

    fault = failure(build())

    assert str(fault) == "21211"
    assert fault.__cause__ is None
