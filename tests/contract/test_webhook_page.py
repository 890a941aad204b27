"""The page about the webhook: its examples are signed right, and its receiver receives."""

import base64
import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.datastructures import Headers

from core.base64url import decode
from core.standard_webhooks import WebhookSecrets
from sms.provider import SmsMessage, Unavailable
from sms.schemas import WebhookMessage, WebhookReport
from tests.contract.fake_sender import SECRET, signature
from tests.contract.test_webhook import TEXT, WebhookProvider, settings_for
from tests.databases import ROOT

PAGE = (ROOT / "docs" / "providers.md").read_text().partition("\n## Webhook")[2]
#: The first example is a message; the second, a report.
MESSAGE, REPORT = re.findall(r"```http\n(.*?)```", PAGE, re.DOTALL)
(RECEIVER,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(EXAMPLE_SECRET,) = re.findall(r"`(whsec_[A-Za-z0-9+/=]+)`", PAGE)
EXAMPLE = WebhookSecrets((base64.b64decode(EXAMPLE_SECRET.removeprefix("whsec_")),))


def parts(example: str) -> tuple[str, Headers, bytes]:
    """Take an example apart: its first line, its fields and its body."""
    head, _, body = example.partition("\n\n")
    first, *fields = head.splitlines()
    return first, Headers([line.split(": ", 1) for line in fields]), body.strip().encode()


@pytest.mark.parametrize("example", [MESSAGE, REPORT], ids=["message", "report"])
def test_examples_are_signed_right(example: str) -> None:
    """Each example's signature proves it under the secret that the page names, and no other body."""
    _, fields, body = parts(example)

    assert EXAMPLE.verify(fields, body) is not None
    assert EXAMPLE.verify(fields, body + b" ") is None


def test_example_message_is_what_is_posted() -> None:
    """The example is a message as the service writes it, byte for byte, signed at its time."""
    first, fields, body = parts(MESSAGE)
    message = WebhookMessage.model_validate_json(body)

    assert first == "POST /send HTTP/1.1"
    assert message.model_dump_json().encode() == body
    assert dict(fields) == {"Content-Type": "application/json"} | EXAMPLE.sign(
        message.reference, message.sent_at, body
    )
    assert message.expires_at - message.sent_at == timedelta(minutes=10)
    assert decode(message.reference, 32) is not None


def test_example_report_is_one_that_is_taken() -> None:
    """The example of a report has the shape that the route takes, and names the message."""
    first, _, body = parts(REPORT)
    report = WebhookReport.model_validate_json(body)

    assert first == "POST /v1/callbacks/webhook HTTP/1.1"
    assert report.reference == json.loads(parts(MESSAGE)[2])["reference"]


class Receiver:
    """The page's receiver, run as an operator would run it."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}/send"

    def post(self, body: bytes, **fields: str) -> int:
        """Post something to it and give its status."""
        headers = {f"webhook-{name}": value for name, value in fields.items()}
        request = urllib.request.Request(self.url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return refusal.code

    def printed(self) -> str:
        """End it and give what it handed to its gateway."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[0]


def _wait_for(process: "subprocess.Popen[str]", port: int) -> None:
    """Wait until it listens; a process that ended never will."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the receiver ended")


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Run the page's receiver on a free port."""
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = tmp_path / "receiver.py"
    script.write_text(RECEIVER.replace("8081", str(port)))
    process = subprocess.Popen(
        [sys.executable, "-u", script],
        env={"KITH_WEBHOOK_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            _wait_for(process, port)
            yield Receiver(process, port)
        finally:
            process.kill()


def provider_for(receiver: Receiver, **changed: Any) -> WebhookProvider:
    """Build a provider that posts to the receiver, by the real time."""
    patient = {"webhook_connect_timeout": 20, "webhook_read_timeout": 20}
    settings = settings_for(receiver.url, **patient | changed)
    return WebhookProvider.from_settings(settings, lambda: datetime.now(UTC))


def test_the_receiver_is_short() -> None:
    """It is no longer than the page says one has to be."""
    assert len(RECEIVER.splitlines()) <= 20


def test_the_receiver_takes_what_is_signed(receiver: Receiver) -> None:
    """What the provider posts arrives, also while the secret is being rotated."""
    later = SmsMessage(TEXT.to, "sms", "271828 是您的 Kith 验证码。", "zh", "s" * 43)
    rotating = {"webhook_secret": EXAMPLE_SECRET, "webhook_secret_previous": SECRET}

    assert provider_for(receiver).send(TEXT) == TEXT.reference
    assert provider_for(receiver, **rotating).send(later) == later.reference

    printed = receiver.printed()
    assert TEXT.body in printed
    assert later.body in printed


def test_the_receiver_refuses_another_secret(receiver: Receiver) -> None:
    """A service with another secret is told that it was refused, and nothing is sent."""
    with pytest.raises(Unavailable, match="http-401"):
        provider_for(receiver, webhook_secret=EXAMPLE_SECRET).send(TEXT)

    assert receiver.printed() == ""


def test_the_receiver_refuses_what_is_forged_or_stale(receiver: Receiver) -> None:
    """Another body, id or moment, an old or a future message, and one without fields are refused."""
    now = int(datetime.now(UTC).timestamp())
    body = b'{"to": "+4915112345678"}'
    right = {"id": "a", "timestamp": str(now), "signature": signature(SECRET, "a", now, body)}

    assert receiver.post(body, **right) == 202
    for forged in (
        {"id": "b"},
        {"timestamp": str(now + 1)},
        {"timestamp": ""},
        {"signature": ""},
        {"signature": signature(EXAMPLE_SECRET, "a", now, body)},
    ):
        assert receiver.post(body, **right | forged) == 401, forged
    assert receiver.post(body + b" ", **right) == 401
    assert receiver.post(body) == 401
    for moment in (now - 400, now + 400):
        signed = signature(SECRET, "a", moment, body)
        assert receiver.post(body, id="a", timestamp=str(moment), signature=signed) == 401
    assert receiver.printed().count("+4915112345678") == 1


def test_the_tests_sign_as_the_specification_says() -> None:
    """The signature that tests make for themselves gives the published vector."""
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
