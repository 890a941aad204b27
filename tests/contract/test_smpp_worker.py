"""SMPP in the service as it runs: through HTTP, under gevent, over TLS, and with nothing in the logs."""

import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import select
from structlog.testing import capture_logs

from core import logs
from core.settings import SettingsError
from settings import Settings
from sms.models import Send
from sms.provider import SendFailure, Unavailable
from sms.smpp.messages import SmppMessages
from sms.smpp.pdu_socket import SmscAddress
from sms.smpp.provider import SmppProvider
from tests.conftest import NUMBER, MakeApp, problem_code
from tests.contract.conftest import BuildSmpp
from tests.contract.fake_smsc import (
    PASSWORD,
    SYSTEM_ID,
    FakeSmsc,
    Session,
    accept,
    answer_otherwise,
    hang_up,
    receipt,
    say,
    stall,
)
from tests.contract.smpp_providers import PATIENT
from tests.contract.test_smpp import TEXT, failure, sent_at_last
from tests.contract.tls import client_context, server_context
from tests.databases import ROOT
from tests.server import running_server


@pytest.fixture
def dialect() -> str:
    """What is said on the wire does not depend on the database."""
    return "sqlite"


@pytest.mark.parametrize("encryption", ["plain", "tls"])
def test_a_hundred_wait_in_one_worker(database_url: str, encryption: str) -> None:
    """Under gevent a hundred texts are submitted before the first is answered, and others run meanwhile."""
    script = ("tests.contract.smpp_in_gevent", database_url, encryption)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "gevent.monkey", "--module", *script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report == {
        "peak": 100,
        "sessions": 1,
        "ids": 100,
        "receipts": 100,
        "cooperative": True,
    }


@pytest.fixture
def tls_smsc() -> Iterator[FakeSmsc]:
    """Run an SMSC that speaks TLS."""
    with FakeSmsc(server_context()) as fake:
        yield fake


def test_tls(tls_smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """Texts go through TLS, and nonsense in it is nonsense."""
    provider = build_smpp(address=SmscAddress("127.0.0.1", tls_smsc.port, client_context()))
    assert provider.send(TEXT) == "1"
    tls_smsc.sessions[0].say(b"\0" * 100)
    tls_smsc.wait_for(lambda: len(tls_smsc.sessions) == 2)
    assert sent_at_last(provider) == "2"


def test_an_untrusted_smsc_gets_nothing(
    tls_smsc: FakeSmsc, build_smpp: BuildSmpp, smsc: FakeSmsc
) -> None:
    """Whoever cannot prove to be the SMSC, or speaks no TLS, gets neither password nor text."""
    context = client_context()
    context.check_hostname = True
    slow = replace(PATIENT, first_retry=60, max_retry=60)
    stranger = build_smpp(address=SmscAddress("127.0.0.1", tls_smsc.port, context), timeouts=slow)
    with capture_logs() as lines:
        assert failure(stranger).error_code == "certificate-invalid"
    assert ("smpp.refused", "error") in [(line["event"], line["log_level"]) for line in lines]

    deaf = build_smpp(
        address=SmscAddress("127.0.0.1", smsc.port, context), timeouts=replace(slow, connect=0.3)
    )
    assert isinstance(failure(deaf), Unavailable)
    assert tls_smsc.received == smsc.received == []


def test_an_smsc_that_takes_no_connection(build_smpp: BuildSmpp) -> None:
    """A host that does not answer in time is unavailable, and a send waits no longer for it."""
    times = replace(PATIENT, connect=0.3, first_retry=60, max_retry=60)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        fault = failure(build_smpp(address=SmscAddress(*deaf.getsockname()), timeouts=times))
        for each in waiting:
            each.close()

    assert isinstance(fault, Unavailable)
    assert fault.error_code in ("connect-timeout", "bind-timeout")


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Log as the service does at its most talkative; the call gives what was written since."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    logs.configure(Settings(log_level="debug"))

    def written() -> str:
        captured = capfd.readouterr()
        return captured.out + captured.err

    yield written
    root.handlers = before
    root.setLevel(level)


def test_nothing_of_a_text_is_logged(
    smsc: FakeSmsc, build_smpp: BuildSmpp, logged: Callable[[], str]
) -> None:
    """At level debug no line holds a text, a code, a number or the password, whatever goes wrong."""
    # Louder than the service ever is: libraries may say all they have.
    root = logging.getLogger()
    root.setLevel(logging.DEBUG)
    heard = []
    listener = logging.Handler(logging.DEBUG)
    listener.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    root.addHandler(listener)
    for name in ("smpp", "smpplib", "smpplib.command", "smpp.Client"):
        logging.getLogger(name).setLevel(logging.DEBUG)

    provider = build_smpp(timeouts=replace(PATIENT, response=1))
    text = receipt("1", "DELIVRD", text=TEXT.body)
    message_id = provider.send(TEXT)
    smsc.answered(smsc.deliver(short_message=text, options=b"\x14\x00\x00\x02xy"))
    smsc.answered(smsc.deliver(esm_class=0, short_message=TEXT.body.encode()))
    smsc.answered(smsc.deliver(short_message=text, options=b"\x14"))
    for reaction in (
        stall,
        hang_up,
        say(TEXT.body.encode()),
        answer_otherwise("submit_sm_resp", status=0x0B),
        answer_otherwise("submit_sm_resp", status=0x0A),
    ):
        smsc.next("submit_sm", reaction)
        while smsc.reactions["submit_sm"]:
            with suppress(SendFailure):
                provider.send(TEXT)
    provider.close()

    output = logged() + "\n".join(heard)
    assert message_id == "1"
    assert "smpp.bound" in output
    assert "smpp.refused" in output
    secrets = [TEXT.body, "314159", "is your", NUMBER[1:], PASSWORD, b"314159".hex()]
    assert [secret for secret in secrets if secret in output] == []
    assert not re.search(r"id:1\b|submit date", output)


@pytest.fixture
def app(make_app: MakeApp, smsc: FakeSmsc) -> Iterator[OpenAPI]:
    """An application that sends through the SMSC."""
    app = make_app(
        sms_provider="smpp",
        smpp_host="127.0.0.1",
        smpp_port=smsc.port,
        smpp_system_id=SYSTEM_ID,
        smpp_password=PASSWORD,
        smpp_from="Kith",
        smpp_response_timeout=1,
    )
    yield app
    app.extensions["kith"].sms.providers["smpp"].close()


def start(app: OpenAPI) -> Any:
    """Start a verification."""
    return app.test_client().post("/v1/verifications", json={"phone_number": NUMBER})


def statuses(app: OpenAPI) -> list[str]:
    """Read how far each send has come."""
    with app.extensions["kith"].runtime.database.read() as connection:
        return list(connection.scalars(select(Send.status).order_by(Send.created_at)))


def test_a_code_is_sent_and_delivered(app: OpenAPI, smsc: FakeSmsc) -> None:
    """A verification's text goes out over SMPP, and its receipt settles the send."""
    assert start(app).status_code == 201
    assert re.match(rb"\d{6} is your Kith", smsc.submitted[0].short_message)
    assert smsc.submitted[0].validity_period == b"000000001000000R"
    assert statuses(app) == ["sent"]
    assert smsc.answered(smsc.deliver(short_message=receipt("1"))) == 0
    assert statuses(app) == ["delivered"]
    metrics = app.test_client().get("/metrics").text
    assert "kith_smpp_bound 1.0" in metrics
    assert 'kith_smpp_messages_total{kind="applied"} 1.0' in metrics


def test_a_receipt_overtakes_everything(app: OpenAPI, smsc: FakeSmsc) -> None:
    """A receipt that is there before the answer is not undone by what the service records."""

    def receipt_first(session: Session, pdu: Any) -> None:
        session.fake.deliver(short_message=receipt("1"))
        accept(session, pdu)

    smsc.next("submit_sm", receipt_first)
    assert start(app).status_code == 201
    assert smsc.answered(1) == 0
    assert statuses(app) == ["delivered"]


def test_an_smsc_that_is_away_at_start(app: OpenAPI, smsc: FakeSmsc) -> None:
    """The service starts without its SMSC and answers 503 until it is there."""
    smsc.stop()
    refused = start(app)
    assert (refused.status_code, problem_code(refused)) == (503, "send-unavailable")
    assert int(refused.headers["Retry-After"]) >= 1
    smsc.start()
    smsc.wait_for(lambda: smsc.sessions and smsc.sessions[0].bound)
    assert start(app).status_code == 201
    assert len(smsc.submitted) == 1


@pytest.mark.parametrize("reaction", [stall, hang_up, say(b"\xff" * 64)])
def test_a_lost_answer_is_never_a_second_text(app: OpenAPI, smsc: FakeSmsc, reaction: Any) -> None:
    """When the SMSC stalls, hangs up or answers nonsense, the send is unknown and not repeated."""
    smsc.next("submit_sm", reaction)
    assert start(app).status_code == 201
    assert statuses(app) == ["unknown"]
    assert len(smsc.submitted) == 1


def test_a_server_that_stops_takes_leave(database_url: str, smsc: FakeSmsc, tmp_path: Path) -> None:
    """A worker of gunicorn unbinds when it is told to stop."""
    environment = {
        "KITH_DATA_DIR": str(tmp_path),
        "KITH_DATABASE_URL": database_url,
        "KITH_SMS_PROVIDER": "smpp",
        "KITH_SMPP_HOST": "127.0.0.1",
        "KITH_SMPP_PORT": str(smsc.port),
        "KITH_SMPP_SYSTEM_ID": SYSTEM_ID,
        "KITH_SMPP_PASSWORD": PASSWORD,
        "KITH_SMPP_FROM": "Kith",
    }
    with running_server(environment, tmp_path / "server.log") as server:
        started = httpx.post(
            f"{server.base_url}/v1/verifications", json={"phone_number": NUMBER}, timeout=30
        )
        assert started.status_code == 201
    assert smsc.commands() == ["bind_transceiver", "submit_sm", "unbind"]


def test_settings_without_an_smsc(app: OpenAPI) -> None:
    """The provider refuses settings that do not name an SMSC."""
    kith = app.extensions["kith"]
    messages = SmppMessages(
        kith.runtime.database, kith.runtime.clock, kith.sms.deliveries, kith.sms.metrics
    )
    with pytest.raises(SettingsError):
        SmppProvider.from_settings(Settings(), messages, kith.sms.metrics)
