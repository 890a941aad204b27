"""Push in the service as it runs: gunicorn, gevent, the waker's own greenlets, every provider at once."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kith import Envelope, Kith, Registration
from tests.contract.fake_apns import FakeApns
from tests.contract.fake_fcm import FakeFcm
from tests.contract.fake_push import FakeEndpoint, FakePushService
from tests.contract.fake_sender import SECRET
from tests.server import RunningServer, running_server

NUMBERS = [f"+49151123456{n:02d}" for n in range(4)]
BROWSER, IPHONE, ANDROID, SENDER = range(4)


@pytest.fixture
def dialect() -> str:
    """One database is enough: what is tried here does not depend on it."""
    return "sqlite"


def register(server: RunningServer, number: str) -> tuple[Kith, Registration]:
    """Prove a number and register a device for it."""
    kith = Kith(server.base_url)
    verification = kith.start_verification(number)
    code = re.search(r"\d{6}", kith.outbox(number)[0].body)
    assert code
    kith.check_code(verification.id, code[0])
    registration = kith.register(verification.id)
    kith.device_token = registration.device_token
    return kith, registration


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens soon."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """Write a key as providers give it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_each_device_is_woken_in_its_way(database_url: str, tmp_path: Path) -> None:
    """One message to each of three people wakes each once there, and the operator three times."""
    apple, google = tmp_path / "AuthKey.p8", tmp_path / "account.json"
    log = tmp_path / "server.log"
    apple.write_text(pem(ec.generate_private_key(ec.SECP256R1())))
    with FakePushService() as web, FakeApns() as apns, FakeFcm() as fcm, FakeEndpoint() as endpoint:
        account = {
            "project_id": "kith-test",
            "client_email": "push@kith-test.example",
            "private_key": pem(rsa.generate_private_key(65_537, 2048)),
            "token_uri": f"{fcm.url}/token",
        }
        google.write_text(json.dumps(account))
        environment = {
            "NO_PROXY": "*",
            "KITH_DATA_DIR": str(tmp_path),
            "KITH_DATABASE_URL": database_url,
            "KITH_PUSH": "webpush, webhook, apns, fcm",
            "KITH_PUSH_WEBHOOK_URL": endpoint.url,
            "KITH_PUSH_WEBHOOK_SECRET": SECRET,
            "KITH_APNS_KEY_FILE": str(apple),
            "KITH_APNS_KEY_ID": "KEY1234567",
            "KITH_APNS_TEAM_ID": "TEAM123456",
            "KITH_APNS_TOPIC": "com.example",
            "KITH_APNS_URL": apns.url,
            "KITH_FCM_SERVICE_ACCOUNT_FILE": str(google),
            "KITH_FCM_URL": fcm.url,
        }
        with running_server(environment, log) as server:
            people = [register(server, number) for number in NUMBERS]
            browser = web.browser("a-capability")
            keys = browser.public_keys()
            people[BROWSER][0].subscribe_web_push(browser.endpoint, **keys)
            people[IPHONE][0].subscribe_apns("0a1b2c")
            people[ANDROID][0].subscribe_fcm("registration:token")
            for _, person in people[:SENDER]:
                envelope = Envelope(person.device_id, b"a secret")
                people[SENDER][0].send_message(person.account_id, [envelope])
            until(lambda: bool(web.received and apns.received and fcm.sent()))
            until(lambda: len(endpoint.received) == 3)
            assert browser.open(web.received[0]) == {"type": "messages.waiting"}
            until(lambda: 'outcome="woken",provider="apns"} 1' in people[0][0].metrics())
            for kith, _ in people:
                kith.close()
        assert (len(web.received), len(apns.received), len(fcm.sent())) == (1, 1, 1)
    written = log.read_text()
    for secret in ("a-capability", "0a1b2c", "registration:token", "Traceback"):
        assert secret not in written
