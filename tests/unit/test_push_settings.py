"""Settings of push wake-ups: what each way needs, and keys that are none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.settings import SettingsError
from messaging.push.settings import p256_key
from settings import Settings

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PRODUCTION = {
    "KITH_ENVIRONMENT": "production",
    "KITH_SECRET_KEY": "k" * 32,
    "KITH_SMS_PROVIDER": "webhook",
    "KITH_WEBHOOK_URL": "https://sender.example",
    "KITH_WEBHOOK_SECRET": "whsec_" + "a" * 32,
}
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65_537, 2048)


def pem(key: Key) -> str:
    """Write a key as OpenSSL does."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Read settings, and give the lines of what is wrong with them."""

    def faults(**variables: str) -> list[str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        try:
            Settings.load()
        except SettingsError as error:
            return [line.removeprefix("  - ") for line in error.message.splitlines()[1:]]
        return []

    return faults


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Key files as Apple and Google give them."""
    account = {
        "type": "service_account",
        "project_id": "kith-test",
        "client_email": "push@kith-test.example",
        "private_key": pem(RSA),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    apple, google = tmp_path / "AuthKey.p8", tmp_path / "account.json"
    apple.write_text(pem(P256))
    google.write_text(json.dumps(account))
    return {
        "KITH_PUSH": "webpush, webhook, apns, fcm",
        "KITH_VAPID_PRIVATE_KEY": pem(P256),
        "KITH_VAPID_SUBJECT": "mailto:ops@example.com",
        "KITH_PUSH_WEBHOOK_URL": "https://push.example",
        "KITH_PUSH_WEBHOOK_SECRET": "whsec_" + "b" * 32,
        "KITH_APNS_KEY_FILE": str(apple),
        "KITH_APNS_KEY_ID": "KEY1234567",
        "KITH_APNS_TEAM_ID": "TEAM123456",
        "KITH_APNS_TOPIC": "com.example",
        "KITH_FCM_SERVICE_ACCOUNT_FILE": str(google),
    }


def test_all_of_it_is_enough(faults: Callable[..., list[str]], files: dict[str, str]) -> None:
    """In production too."""
    assert faults(**PRODUCTION, **files) == []


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("KITH_VAPID_PRIVATE_KEY", "webpush"),
        ("KITH_VAPID_SUBJECT", "webpush"),
        ("KITH_PUSH_WEBHOOK_URL", "webhook"),
        ("KITH_PUSH_WEBHOOK_SECRET", "webhook"),
        ("KITH_APNS_KEY_FILE", "apns"),
        ("KITH_APNS_KEY_ID", "apns"),
        ("KITH_APNS_TEAM_ID", "apns"),
        ("KITH_APNS_TOPIC", "apns"),
        ("KITH_FCM_SERVICE_ACCOUNT_FILE", "fcm"),
    ],
)
def test_without_one_of_it(
    faults: Callable[..., list[str]], files: dict[str, str], name: str, way: str
) -> None:
    """The line names what is missing, and for what."""
    assert faults(**PRODUCTION, **files | {name: ""}) == [f"{name} is required by KITH_PUSH={way}"]


def test_development_makes_its_own_key(faults: Callable[..., list[str]]) -> None:
    """Web Push needs nothing there."""
    assert faults(KITH_PUSH="webpush") == []


@pytest.mark.parametrize("name", ["KITH_PUSH_WEBHOOK_URL", "KITH_APNS_URL", "KITH_FCM_URL"])
def test_in_production_secrets_travel_encrypted(
    faults: Callable[..., list[str]], files: dict[str, str], name: str
) -> None:
    """Signatures, tokens and addresses of devices are among them."""
    given = PRODUCTION | files | {name: "http://push.example"}
    assert faults(**given) == [f"{name} must be https:// in production"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KITH_PUSH", "webpush, pigeon"),
        ("KITH_PUSH", "apns, apns"),
        ("KITH_VAPID_PRIVATE_KEY", "too-short"),
        ("KITH_VAPID_PRIVATE_KEY", pem(RSA)),
        ("KITH_VAPID_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\nbm8=\n-----END PRIVATE KEY-----"),
        ("KITH_VAPID_PRIVATE_KEY", pem(ec.generate_private_key(ec.SECP384R1()))),
        ("KITH_VAPID_SUBJECT", "ops@example.com"),
        ("KITH_APNS_KEY_FILE", "/nowhere/AuthKey.p8"),
        ("KITH_APNS_KEY_ID", "short"),
        ("KITH_APNS_TOPIC", "com example"),
        ("KITH_PUSH_WEBHOOK_SECRET", "whsec_short"),
    ],
)
def test_what_cannot_be_used_is_named(
    faults: Callable[..., list[str]], files: dict[str, str], name: str, value: str
) -> None:
    """By its variable, and without repeating a key."""
    lines = faults(**files | {name: value})
    assert lines[0].partition(":")[0] == name
    assert value not in lines[0] or not name.endswith("KEY")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("KITH_APNS_KEY_FILE", pem(RSA)),
        ("KITH_APNS_KEY_FILE", "\x00"),
        ("KITH_FCM_SERVICE_ACCOUNT_FILE", "{}"),
        ("KITH_FCM_SERVICE_ACCOUNT_FILE", "no JSON"),
        (
            "KITH_FCM_SERVICE_ACCOUNT_FILE",
            json.dumps(
                {
                    "project_id": "p",
                    "client_email": "e",
                    "private_key": pem(P256),
                    "token_uri": "https://oauth2.googleapis.com/token",
                }
            ),
        ),
    ],
)
def test_files_that_hold_something_else(
    faults: Callable[..., list[str]], files: dict[str, str], name: str, content: str
) -> None:
    """They are read once, at start."""
    Path(files[name]).write_text(content)
    lines = faults(**files)
    assert lines[0].partition(":")[0] == name
    assert "PRIVATE KEY" not in lines[0]


def test_a_key_may_be_written_as_its_bytes() -> None:
    """As tools for VAPID print it, with or without padding."""
    text = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
    assert p256_key(text).private_numbers() == p256_key(text + "=").private_numbers()
    public = p256_key(text).public_key().public_numbers()
    # The key of the example in RFC 8291, section 5.
    assert public.x.to_bytes(32).hex().startswith("fe33f4ab")
