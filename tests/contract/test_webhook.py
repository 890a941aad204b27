"""The webhook provider against a local sender: what is posted, and what each answer means."""

import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.settings import SettingsError
from core.standard_webhooks import WebhookSecrets
from settings import Settings
from sms.provider import Ambiguous, Blocked, Rejected, SendFailure, SmsMessage, Unavailable
from sms.schemas import WebhookMessage
from sms.webhook.provider import WebhookProvider
from tests.conftest import Clock
from tests.contract.fake_http import Answer
from tests.contract.fake_sender import OLD_SECRET, SECRET, FakeSender, is_signed

REFERENCE = "r" * 43
NUMBER, CODE = "+4915112345678", "314159"
TEXT = SmsMessage(NUMBER, "sms", f"{CODE} is your Kith code.", "en", REFERENCE)
CALL = SmsMessage(NUMBER, "voice", "Your code is: 3, 1, 4; 3, 1, 4.", "de-DE", REFERENCE)
OWN_CERTIFICATE = Path(__file__).with_name("own_certificate.pem")

Build = Callable[..., WebhookProvider]


def settings_for(address: str, **changed: Any) -> Settings:
    """Write the settings that name a sender."""
    return Settings.model_validate(
        {"sms_provider": "webhook", "webhook_url": address, "webhook_secret": SECRET} | changed
    )


@pytest.fixture
def build(sender: FakeSender, clock: Clock) -> Build:
    """Build providers that talk to the fake, from settings as the application does."""

    def make(**changed: Any) -> WebhookProvider:
        # A busy machine is no fault of the sender's.
        patient = {"webhook_connect_timeout": 20, "webhook_read_timeout": 20}
        settings = settings_for(sender.address, **patient | changed)
        return WebhookProvider.from_settings(settings, clock)

    return make


def failure(provider: WebhookProvider, message: SmsMessage = TEXT) -> SendFailure:
    """Send what must fail and give the failure."""
    with pytest.raises(SendFailure) as caught:
        provider.send(message)
    return caught.value


@pytest.mark.parametrize("message", [TEXT, CALL], ids=["sms", "voice"])
def test_message_is_posted_as_given(sender: FakeSender, build: Build, message: SmsMessage) -> None:
    """A text or a call arrives once and complete, named by its reference and signed."""
    assert build().send(message) == "m-1"

    [request] = sender.received
    assert (request.method, request.path) == ("POST", "/send/")
    assert request.document == {
        "reference": REFERENCE,
        "to": NUMBER,
        "channel": message.channel,
        "body": message.body,
        "language": message.language,
        "sent_at": "2026-03-01T12:00:00Z",
        "expires_at": "2026-03-01T12:10:00Z",
    }
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == "Kith"
    assert request.headers["webhook-id"] == REFERENCE
    assert request.headers["webhook-timestamp"] == str(int(Clock().now.timestamp()))
    assert is_signed(request.headers, request.body)


def test_text_in_any_script_survives(sender: FakeSender, build: Build) -> None:
    """Characters beyond ASCII and line ends arrive as they were, under a signature that fits."""
    body = "123456 是您的 Kith 验证码。🔑\n@example.com #123456"

    assert build().send(SmsMessage(NUMBER, "sms", body, "zh", REFERENCE)) == "m-1"

    assert sender.received[0].document["body"] == body


def test_both_secrets_sign_while_rotating(sender: FakeSender, build: Build) -> None:
    """Who knows the new secret and who knows the old one can both verify."""
    build(webhook_secret_previous=OLD_SECRET).send(TEXT)

    [request] = sender.received
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OLD_SECRET):
        assert is_signed(request.headers, request.body, secret)


@pytest.mark.parametrize(
    ("named", "carried"), [({}, {"sms"}), ({"webhook_channels": "sms, voice"}, {"sms", "voice"})]
)
def test_channels_are_the_operators_to_name(
    build: Build, named: dict[str, str], carried: set[str]
) -> None:
    """Calls are offered only when the sender is said to make them."""
    assert build(**named).channels == carried


def test_settings_without_a_sender_are_refused(clock: Clock) -> None:
    """Settings that name another provider build no webhook."""
    with pytest.raises(SettingsError, match="secret"):
        WebhookProvider.from_settings(Settings.model_validate({}), clock)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(200, b'{"id": "abc-1"}'), "abc-1"),
        (Answer(201, b'{"id": "~!", "queued": true}'), "~!"),
        (Answer(202, b"{}"), REFERENCE),
        (Answer(202, b""), REFERENCE),
        (Answer(204), REFERENCE),
    ],
)
def test_receipts(sender: FakeSender, build: Build, answer: Answer, expected: str) -> None:
    """A 2xx with an id, without one, or with nothing at all is a receipt."""
    sender.next(answer)

    assert build().send(TEXT) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"<html>welcome</html>",
        b"[]",
        b"null",
        b" ",
        b'{"id": null}',
        b'{"id": ""}',
        b'{"id": 5}',
        b'{"id": "a b"}',
        b'{"id": "\\u0000"}',
        b'{"id": "' + b"i" * 65 + b'"}',
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b'{"id": "a", "more": "' + b"x" * 70_000 + b'"}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_unreadable_receipt_is_ambiguous(sender: FakeSender, build: Build, body: bytes) -> None:
    """A 2xx with anything else in it was taken by somebody."""
    sender.next(Answer(200, body))

    fault = failure(build())

    assert (type(fault), fault.error_code) == (Ambiguous, "answer-unreadable")
    assert len(sender.received) == 1


@pytest.mark.parametrize(
    ("answer", "expected", "name"),
    [
        (Answer(422, b'{"error": "rejected"}'), Rejected, "http-422"),
        (Answer(422, b'{"error": "rejected", "error_code": "30006"}'), Rejected, "30006"),
        (Answer(403, b'{"error": "blocked"}'), Blocked, "http-403"),
        (Answer(403, b'{"error": "blocked", "error_code": "no-route.DE"}'), Blocked, "no-route.DE"),
        (Answer(429), Unavailable, "http-429"),
        (Answer(429, b'{"error_code": "slow-down"}'), Unavailable, "slow-down"),
        (Answer(503, b'{"error": "unavailable"}'), Unavailable, "http-503"),
        (Answer(503, b'{"error": "unavailable", "error_code": "smsc"}'), Unavailable, "smsc"),
    ],
)
def test_refusals_of_the_sender(
    sender: FakeSender,
    build: Build,
    capsys: pytest.CaptureFixture[str],
    answer: Answer,
    expected: type[SendFailure],
    name: str,
) -> None:
    """What the sender refuses in its own words sent nothing, and is nobody's fault here."""
    sender.next(answer)

    fault = failure(build())

    assert (type(fault), fault.error_code) == (expected, name)
    assert "webhook.refused" not in capsys.readouterr().out


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("field", "expected"), [("7", 7), ("86400", 3600), ("soon", None)])
def test_retry_after_is_honoured(
    sender: FakeSender, build: Build, status: int, field: str, expected: int | None
) -> None:
    """A sender that is too busy says when to come back, within bounds."""
    sender.next(Answer(status, b'{"error": "unavailable"}', {"Retry-After": field}))

    fault = failure(build())

    assert (type(fault), fault.retry_after) == (Unavailable, expected)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(400, b'{"error": "rejected"}'),
        Answer(401),
        Answer(403, b"<html>Forbidden</html>"),
        Answer(403, b'{"error": "rejected"}'),
        Answer(403, b'{"error": ["blocked"]}'),
        Answer(404, b"{}"),
        Answer(410),
        Answer(422, b'{"error": "blocked"}'),
        Answer(422, b'["rejected"]'),
        Answer(301, b"", {"Location": "/elsewhere"}),
        Answer(307, b"", {"Location": "http://["}),
    ],
    ids=lambda answer: f"{answer.status} {answer.body}",
)
def test_other_refusals_are_the_operators_business(
    sender: FakeSender, build: Build, capsys: pytest.CaptureFixture[str], answer: Answer
) -> None:
    """What refuses our request, or points elsewhere, sent nothing, and the operator is told."""
    sender.next(answer)

    fault = failure(build())

    assert (type(fault), fault.error_code) == (Unavailable, f"http-{answer.status}")
    assert len(sender.received) == 1
    assert "webhook.refused" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [
        Answer(303, b"", {"Location": "/elsewhere"}),
        Answer(500),
        Answer(500, b'{"error": "rejected"}'),
        Answer(502, b"Bad Gateway"),
        Answer(502, b'{"error": "unavailable"}'),
        Answer(503, b"no server is available", {"Retry-After": "5"}),
        Answer(503, b'{"error": "rejected"}'),
        Answer(504),
        Answer(599),
    ],
    ids=lambda answer: f"{answer.status} {answer.body}",
)
def test_faults_behind_the_door_are_ambiguous(
    sender: FakeSender, build: Build, answer: Answer
) -> None:
    """What failed after it was passed on may have been sent, and is not posted again."""
    sender.next(answer)

    fault = failure(build())

    assert (type(fault), fault.error_code) == (Ambiguous, f"http-{answer.status}")
    assert len(sender.received) == 1


@pytest.mark.parametrize(
    "code", [b'"a b"', b'"' + b"x" * 33 + b'"', b"null", b"[]", b"7.5", b'"+4915"']
)
def test_odd_error_codes_are_left_out(sender: FakeSender, build: Build, code: bytes) -> None:
    """An error code that does not look like one is not kept."""
    sender.next(Answer(422, b'{"error": "rejected", "error_code": %s}' % code))

    assert failure(build()).error_code == "http-422"


def test_read_timeout_is_ambiguous(sender: FakeSender, build: Build) -> None:
    """An answer that comes too late leaves the send unknown; exactly one request arrived."""
    sender.next(Answer(delay=0.6))

    fault = failure(build(webhook_read_timeout=0.2))

    assert (type(fault), fault.error_code) == (Ambiguous, "read-timeout")
    time.sleep(0.7)
    assert len(sender.received) == 1


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer(200, b'{"id": "a', cut_body=True)])
def test_connection_lost_is_ambiguous(sender: FakeSender, build: Build, answer: Answer) -> None:
    """A connection that breaks after the request leaves the send unknown; it is not replayed."""
    provider = build()
    provider.send(TEXT)
    sender.next(answer)

    fault = failure(provider)

    assert (type(fault), fault.error_code) == (Ambiguous, "connection-lost")
    assert len(sender.received) == 2
    assert provider.send(TEXT) == "m-3"


def test_refused_connection_sent_nothing(build: Build) -> None:
    """With nobody listening, nothing was sent."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    fault = failure(build(webhook_url=f"http://127.0.0.1:{port}"))

    assert (type(fault), fault.error_code) == (Unavailable, "connect-failed")


def test_unknown_host_sent_nothing(build: Build) -> None:
    """Without an address, nothing was sent."""
    fault = failure(build(webhook_url="http://sender.invalid"))

    assert (type(fault), fault.error_code) == (Unavailable, "connect-failed")


def own_tls() -> ssl.SSLContext:
    """Prove to be the sender, with a certificate of the operator's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(OWN_CERTIFICATE)
    return context


def test_untrusted_certificate_sends_nothing(
    build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever cannot prove to be the sender gets no code, and the operator is told."""
    with FakeSender(own_tls()) as stranger:
        fault = failure(build(webhook_url=stranger.address))
        assert stranger.received == []

    assert (type(fault), fault.error_code) == (Unavailable, "certificate-invalid")
    assert "webhook.refused" in capsys.readouterr().out


def test_certificate_of_the_operators_own(build: Build) -> None:
    """A certificate is believed under the file that the operator names."""
    with FakeSender(own_tls()) as own:
        provider = build(webhook_url=own.address, webhook_ca_file=str(OWN_CERTIFICATE))
        assert provider.send(TEXT) == "m-1"


def test_the_environment_changes_nothing(
    sender: FakeSender, build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No proxy, login or certificate of the environment comes between the service and the sender."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    assert build().send(TEXT) == "m-1"
    assert "Authorization" not in sender.received[0].headers


def test_cookies_are_not_kept(sender: FakeSender, build: Build) -> None:
    """Nothing that one answer sets goes out with the next person's number."""
    provider = build()
    sender.next(Answer(200, b"{}", {"Set-Cookie": "visitor=1; Path=/"}))
    provider.send(TEXT)
    provider.send(TEXT)

    assert "Cookie" not in sender.received[1].headers


def test_many_sends_at_once_keep_their_own_answers(sender: FakeSender, build: Build) -> None:
    """Sends in parallel do not see each other's refusals and headers."""
    provider = build()
    sender.next(*(Answer(429, headers={"Retry-After": str(i)}) for i in range(1, 33)))

    with ThreadPoolExecutor(32) as pool:
        faults = list(pool.map(lambda _: failure(provider), range(32)))

    assert sorted(fault.retry_after or 0 for fault in faults) == list(range(1, 33))


def test_nothing_is_logged_of_a_text(
    sender: FakeSender, build: Build, all_logged: Callable[[], str]
) -> None:
    """With every logger at its most talkative, no number, code, text or secret is logged."""
    provider = build(webhook_channels="sms, voice")
    provider.send(TEXT)
    provider.send(CALL)
    echo = f'{{"error": "no", "error_code": "{NUMBER}", "detail": "{TEXT.body}"}}'.encode()
    sender.next(Answer(400, echo), Answer(422, echo), Answer(200, echo[1:]), Answer(drop=True))
    for _ in range(4):
        fault = failure(provider)
        assert NUMBER not in repr(fault) + str(fault)

    written = all_logged()
    assert "/send/" in written
    for secret in (NUMBER, NUMBER[1:], CODE, "Kith code", "3, 1, 4", SECRET, REFERENCE):
        assert secret not in written


def test_nothing_is_shown_of_a_secret_or_a_text(sender: FakeSender, build: Build) -> None:
    """Whoever prints the settings, what is made of them, or a message sees no key and no code."""
    build().send(TEXT)
    settings = settings_for(sender.address)
    posted = WebhookMessage.model_validate_json(sender.received[0].body)
    shown = repr(settings) + repr(WebhookSecrets.of(settings.webhook_secret)) + repr(posted)

    assert REFERENCE in shown
    for secret in (SECRET, "kkkk", NUMBER, CODE):
        assert secret not in shown
