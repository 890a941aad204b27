"""Settings: read once, every fault told at once with its variable, unsafe ones refused."""

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.settings import SettingsError
from settings import Settings
from tests.databases import ROOT
from verification import settings as verification_settings

TWILIO = {
    "KITH_SMS_PROVIDER": "twilio",
    "KITH_TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "KITH_TWILIO_AUTH_TOKEN": "t" * 32,
    "KITH_TWILIO_FROM": "+15005550006",
}
WEBHOOK = {
    "KITH_SMS_PROVIDER": "webhook",
    "KITH_WEBHOOK_URL": "https://sms.example.com/send",
    "KITH_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
SMPP = {
    "KITH_SMS_PROVIDER": "twilio, smpp",
    "KITH_SMPP_HOST": "smsc.example.com",
    "KITH_SMPP_SYSTEM_ID": "kith",
    "KITH_SMPP_PASSWORD": "s3cret",
    "KITH_SMPP_FROM": "Kith",
}
PRODUCTION = {"KITH_ENVIRONMENT": "production", "KITH_SECRET_KEY": "k" * 32} | TWILIO


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Load settings from these variables."""

    def load(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Settings.load()

    return load


@pytest.fixture
def faults(load):
    """Give the lines of what these variables are refused with."""

    def faults(**variables: str) -> list[str]:
        with pytest.raises(SettingsError) as refused:
            load(**variables)
        headline, *lines = str(refused.value).splitlines()
        assert headline == "Kith cannot start with these settings:"
        assert all(line.startswith("  - KITH_") for line in lines), lines
        return [line.removeprefix("  - ") for line in lines]

    return faults


def test_defaults_are_for_a_first_try(load) -> None:
    """With nothing set it is SQLite in `data`, the mock provider, on this host only."""
    settings = load()
    assert settings.resolved_database_url == f"sqlite:///{Path('data').resolve()}/kith.db"
    assert settings.mock_sms
    assert (settings.host, settings.environment, settings.workers) == (
        "127.0.0.1",
        "development",
        1,
    )
    assert settings.trusted_proxies == ()


def test_empty_variables_are_not_set(load) -> None:
    """An empty variable, as container files write them, means the default."""
    settings = load(KITH_PORT="", KITH_SECRET_KEY="", KITH_TRUSTED_PROXIES="", KITH_DATABASE_URL="")
    assert settings == Settings()


def test_every_field_fault_at_once(faults) -> None:
    """Each variable that is wrong is named once, with what is wrong."""
    lines = faults(
        KITH_PORT="abc",
        KITH_ENVIRONMENT="staging",
        KITH_CODE_LIFETIME="1",
        KITH_PUBLIC_URL="id.example.com",
        KITH_TRUSTED_PROXIES="10.0.0.0/8, nonsense",
        KITH_FORWARDED_HEADER="X-Real-IP",
        KITH_APP_NAME="x" * 21,
        KITH_SMS_PROVIDER="twilio, twilio",
        KITH_TWILIO_ACCOUNT_SID="AC1",
        KITH_DEFAULT_REGION="Germany",
    )
    assert sorted({line.partition(":")[0] for line in lines}) == [
        "KITH_APP_NAME",
        "KITH_CODE_LIFETIME",
        "KITH_DEFAULT_REGION",
        "KITH_ENVIRONMENT",
        "KITH_FORWARDED_HEADER",
        "KITH_PORT",
        "KITH_PUBLIC_URL",
        "KITH_SMS_PROVIDER",
        "KITH_TRUSTED_PROXIES",
        "KITH_TWILIO_ACCOUNT_SID",
    ]


def test_every_unsafe_combination_at_once(faults) -> None:
    """What is only wrong together is told together as well."""
    lines = faults(
        KITH_ENVIRONMENT="production", KITH_SECRET_KEY_PREVIOUS="short", KITH_APP_NAME="Kith 2026"
    )
    text = "\n".join(lines)
    assert len(lines) == 4
    for name in ("SECRET_KEY ", "SECRET_KEY_PREVIOUS", "SMS_PROVIDER", "APP_NAME"):
        assert f"KITH_{name}" in text


def test_faults_of_both_kinds_at_once(faults) -> None:
    """A field that is wrong does not hide what is missing."""
    text = "\n".join(faults(KITH_ENVIRONMENT="production", KITH_PORT="abc"))
    for name in ("PORT", "SECRET_KEY", "SMS_PROVIDER"):
        assert f"KITH_{name}" in text


def test_settings_of_earlier_versions_are_told_where_they_went(faults) -> None:
    """One that is a rule of the policy now is not ignored without a word."""
    lines = faults(KITH_SENDS_PER_DAY="7", KITH_REFUSED_NUMBER_TYPES="pager", KITH_PORT="abc")
    assert len(lines) == 3
    for name in ("KITH_SENDS_PER_DAY", "KITH_REFUSED_NUMBER_TYPES"):
        assert any(line.startswith(name) and "KITH_POLICY_FILE" in line for line in lines)


def test_retired_settings_are_refused_in_any_case(faults) -> None:
    """Settings of today are read in any case, so those of yesterday were, too."""
    assert any("KITH_NEW_RECIPIENTS_PER_DAY" in line for line in faults(kith_strangers_per_day="5"))


def test_production_with_all_it_needs(load) -> None:
    """With a secret and a real provider production starts."""
    settings = load(**PRODUCTION)
    assert not settings.mock_sms


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"KITH_SECRET_KEY": ""}, "KITH_SECRET_KEY"),
        ({"KITH_SECRET_KEY": "k" * 31}, "KITH_SECRET_KEY"),
        ({"KITH_SECRET_KEY_PREVIOUS": "k" * 31}, "KITH_SECRET_KEY_PREVIOUS"),
        ({"KITH_SMS_PROVIDER": "outbox"}, "KITH_SMS_PROVIDER"),
        ({"KITH_TWILIO_ACCOUNT_SID": ""}, "KITH_TWILIO_ACCOUNT_SID"),
        ({"KITH_TWILIO_AUTH_TOKEN": ""}, "KITH_TWILIO_AUTH_TOKEN"),
        ({"KITH_TWILIO_FROM": ""}, "KITH_TWILIO_FROM"),
    ],
)
def test_production_without_one_of_it(faults, changes: dict[str, str], named: str) -> None:
    """Each thing that production needs is asked for by its name."""
    (line,) = faults(**(PRODUCTION | changes))
    assert line.startswith(named)


@pytest.mark.parametrize("name", ["KITH_WEBHOOK_URL", "KITH_WEBHOOK_SECRET"])
def test_a_webhook_without_one_of_it(faults, name: str) -> None:
    """What the webhook needs is asked for by its name."""
    (line,) = faults(**(WEBHOOK | {name: ""}))
    assert line.startswith(name)


def test_several_providers_need_all_of_it(faults) -> None:
    """Each provider that is named is asked for what it needs."""
    lines = faults(KITH_SMS_PROVIDER="twilio, webhook")
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("https://sms.example.com/send", True),
        ("http://127.0.0.1:8081/send", True),
        ("http://localhost/", True),
        ("http://[::1]:8081", True),
        ("http://sms.example.com/send", False),
        ("http://10.1.2.3/send", False),
        ("http://localhost.example.com", False),
    ],
)
def test_codes_are_not_posted_in_the_open(load, faults, address: str, allowed: bool) -> None:
    """In production the sender is reached over TLS, or on this host; in development as it is."""
    given = PRODUCTION | WEBHOOK | {"KITH_WEBHOOK_URL": address}
    if allowed:
        # The address is whole: no path is added to it, so its end stays as it is.
        assert load(**given).webhook_url == address
    else:
        (line,) = faults(**given)
        assert line.startswith("KITH_WEBHOOK_URL")
        assert load(**(given | {"KITH_ENVIRONMENT": "development"})).webhook_url == address


@pytest.mark.parametrize("name", ["KITH_WEBHOOK_SECRET", "KITH_WEBHOOK_SECRET_PREVIOUS"])
@pytest.mark.parametrize(
    "secret",
    [
        "hunter2",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS-",
        "whsec_é",
        "whsec_" + "A" * 88,
    ],
)
def test_a_secret_that_is_none(faults, name: str, secret: str) -> None:
    """A secret is 24 to 64 bytes in base64 behind its prefix, and is not printed if it is not."""
    lines = faults(**(WEBHOOK | {name: secret}))
    assert all(line.startswith(name) for line in lines)
    assert "must be whsec_ and the base64 of 24 to 64 bytes" in lines[0]
    assert secret == "whsec_" or secret.removeprefix("whsec_") not in "".join(lines)


def test_webhook_channels_are_a_list(load, faults) -> None:
    """The sender carries texts unless it is said to carry calls."""
    assert load(**WEBHOOK).webhook_channels == ("sms",)
    assert load(**WEBHOOK, KITH_WEBHOOK_CHANNELS="voice, sms").webhook_channels == ("voice", "sms")
    for value in ("fax", "sms, sms", ","):
        assert faults(**WEBHOOK, KITH_WEBHOOK_CHANNELS=value)


def test_certificates_are_looked_at_once(faults, tmp_path: Path) -> None:
    """A file that is missing, or holds no certificate, stops the start and not each send."""
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("missing.pem", "empty.pem"):
        (line,) = faults(**WEBHOOK, KITH_WEBHOOK_CA_FILE=str(tmp_path / name))
        assert line.startswith("KITH_WEBHOOK_CA_FILE")


@pytest.mark.parametrize("missing", [name for name in SMPP if name.startswith("KITH_SMPP")])
def test_each_provider_has_what_it_needs(load, faults, missing: str) -> None:
    """Of several providers each needs its own settings, and no other ones."""
    assert load(**PRODUCTION | SMPP).sms_provider == ("twilio", "smpp")
    [line] = faults(**PRODUCTION | SMPP | {missing: ""})
    assert line.startswith(f"{missing} is required by KITH_SMS_PROVIDER=smpp")


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("KITH_SMPP_FROM", "+4915112345670", "+0123"),
        ("KITH_SMPP_FROM", "12345", "a name too long"),
        ("KITH_SMPP_PASSWORD", "12345678", "123456789"),
        ("KITH_SMPP_SYSTEM_ID", "k" * 15, "k" * 16),
        ("KITH_SMPP_SYSTEM_TYPE", "k" * 12, "k" * 13),
    ],
)
def test_what_smpp_has_room_for(load, faults, name: str, good: str, bad: str) -> None:
    """What SMPP would cut is refused at start."""
    load(**{name: good})
    [line] = faults(**{name: bad})
    assert line.startswith(f"{name}: ")
    assert bad not in line


POSTGRESQL = "postgresql+psycopg://kith@localhost/kith"


def test_more_workers(load, faults) -> None:
    """Several workers need Valkey and PostgreSQL; what lacks is said, and what to do."""
    assert len(faults(KITH_WORKERS="4")) == 2
    (line,) = faults(KITH_DATABASE_URL=POSTGRESQL)
    assert line.startswith("KITH_WORKERS: ")
    assert "KITH_VALKEY_URL" in line
    assert load(KITH_VALKEY_URL="valkey://localhost").workers == 4
    (line,) = faults(KITH_DATABASE_URL="")
    assert "PostgreSQL" in line


@pytest.mark.parametrize(
    "address",
    [
        "redis.example.com:6379",
        "http://:hunter2@example.com",
        "valkey://:hunter2@",
        "valkey://:hunter2@example.com:port",
        "valkey://:hunter2@example.com/5",
        "valkey://:hunter2@example.com?socket_timeout=1000",
        "valkeys://:hunter2@example.com?ssl_cert_reqs=none",
    ],
)
def test_addresses_of_valkey(faults, address: str) -> None:
    """What is no address of a Valkey is refused, and its password not shown."""
    (line,) = faults(KITH_VALKEY_URL=address)
    assert line.startswith("KITH_VALKEY_URL: ")
    assert "hunter2" not in line


def test_valkey_password_is_hidden(load) -> None:
    """The address of Valkey is not shown with the settings."""
    settings = load(KITH_VALKEY_URL="valkeys://kith:hunter2@example.com?ssl_ca_certs=/ca.pem")
    assert "hunter2" not in repr(settings)


def test_no_fault_shows_a_secret(faults) -> None:
    """A secret that is refused is not printed."""
    text = "\n".join(faults(KITH_SECRET_KEY="hunter2", KITH_SMS_PROVIDER="fax"))
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ("Forwarded", "Forwarded"),
        ("forwarded", "Forwarded"),
        ("x-forwarded-for", "X-Forwarded-For"),
    ],
)
def test_header_fields_have_no_case(load, written: str, field: str) -> None:
    """The header that proxies write is named as HTTP names it, in any case."""
    assert load(KITH_FORWARDED_HEADER=written).forwarded_header == field


def test_lists_come_with_commas(load) -> None:
    """Lists are written a, b, with any spaces and a comma too many."""
    settings = load(
        KITH_TRUSTED_PROXIES=" 10.0.0.0/8 ,::1/128,, ",
        KITH_WEB_ORIGINS="example.com, id.example.com",
        KITH_ANDROID_APP_HASHES="FA+9qCX9/Su",
    )
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1/128")
    assert settings.web_origins == ("example.com", "id.example.com")
    assert settings.android_app_hashes == ("FA+9qCX9/Su",)


def test_test_numbers(load) -> None:
    """Each is a number, its code, and the last day it works; neither number nor code is shown."""
    settings = load(
        KITH_TEST_NUMBERS="+14155550100=123456@2027-01-31 , +15550100=00314159,,+999123456789=000000"
    )
    assert settings.test_numbers == (
        verification_settings.TestNumber("+14155550100", "123456", date(2027, 1, 31)),
        verification_settings.TestNumber("+15550100", "00314159", None),
        verification_settings.TestNumber("+999123456789", "000000", None),
    )
    assert not re.search(r"\d{5}", repr(settings.test_numbers))


def test_faults_of_test_numbers(faults) -> None:
    """Every entry that is wrong is told at once, by its place or its masked number."""
    entries = (
        "4155550100=123456",
        "+14155550101=12345",
        "+14155550102=1234567",
        "+14155550103=12345a",
        "+14155550104=123456@31.01.2027",
        "+14155550105=123456@2027-02-30",
        "+14155550106=123456@",
        "+14155550107=654321",
        "+1 415 555 0107=123456",
        "+44 7911 123456",
        "+447911123456=123456",
        "+4407911123456=123456",
    )
    lines = faults(KITH_TEST_NUMBERS=",".join(entries))
    assert lines == [
        "KITH_TEST_NUMBERS: " + line
        for line in (
            "entry 1 must begin with a number in E.164 and `=`",
            "+14155•••101 needs a code of 6 or 8 digits after its `=`",
            "+14155•••102 needs a code of 6 or 8 digits after its `=`",
            "+14155•••103 needs a code of 6 or 8 digits after its `=`",
            "+14155•••104 needs a date such as 2027-01-31 after its `@`",
            "+14155•••105 needs a date such as 2027-01-31 after its `@`",
            "+14155•••106 needs a date such as 2027-01-31 after its `@`",
            "+44791•••456 needs a code of 6 or 8 digits after its `=`",
            "+14155•••107 is there twice",
            "+44791•••456 is there twice",
        )
    ]


def test_too_many_test_numbers(faults) -> None:
    """Twenty are enough for anyone."""
    (line,) = faults(KITH_TEST_NUMBERS=",".join(f"+141555501{n:02d}=123456" for n in range(21)))
    assert line.startswith("KITH_TEST_NUMBERS")
    assert "20" in line


def test_test_numbers_need_a_date_in_production(load, faults) -> None:
    """A test number that works for ever is refused where it could do harm."""
    load(**PRODUCTION, KITH_TEST_NUMBERS="+14155550100=123456@2027-01-31")
    (line,) = faults(KITH_TEST_NUMBERS="+14155550100=123456")
    assert line == "KITH_TEST_NUMBERS: +14155•••100 needs its last day in production"


def test_urls_end_without_a_slash(load) -> None:
    """A slash at the end of the public address is not written twice later."""
    assert load(KITH_PUBLIC_URL="https://id.example.com/").public_url == "https://id.example.com"


def test_settings_are_frozen() -> None:
    """Nobody changes a setting after it was read."""
    with pytest.raises(ValidationError):
        Settings().port = 1


def run(arguments: list[str], data_dir: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a process of the service with these variables and give what it said."""
    environment = os.environ | {"KITH_DATA_DIR": str(data_dir)} | variables
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


WSGI = ["-c", "import wsgi"]
GUNICORN = ["-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]


@pytest.mark.parametrize("arguments", [WSGI, GUNICORN], ids=["wsgi", "gunicorn"])
@pytest.mark.slow
def test_an_unsafe_process_does_not_start(tmp_path: Path, arguments: list[str]) -> None:
    """In production without a secret and a provider it ends, says why, and shows no traceback."""
    done = run(arguments, tmp_path, KITH_ENVIRONMENT="production")
    assert done.returncode != 0
    assert "Kith cannot start with these settings:" in done.stderr
    assert "KITH_SECRET_KEY is required in production" in done.stderr
    assert "KITH_SMS_PROVIDER=outbox" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["mysql://localhost/kith", "nonsense"])
@pytest.mark.slow
def test_a_database_that_is_none(tmp_path: Path, url: str) -> None:
    """An address of no database that Kith runs on is a fault like the others."""
    done = run(WSGI, tmp_path, KITH_DATABASE_URL=url)
    assert done.returncode != 0
    assert "KITH_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_command_with_faulty_settings(tmp_path: Path) -> None:
    """The operator's command says what is wrong as the server does."""
    done = run(["-m", "flask", "--app", "app", "maintenance", "run"], tmp_path, KITH_PORT="abc")
    assert done.returncode != 0
    assert "KITH_PORT" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("KITH_WEB_ORIGINS", "https://example.com/login", "is not a host name"),
        ("KITH_ANDROID_APP_HASHES", "short", "is not an 11-character Android app hash"),
        ("KITH_TRUSTED_PROXIES", "10.0.0.0/99", "does not appear to be an IPv4 or IPv6 network"),
        ("KITH_PUBLIC_URL", "id.example.com", "is not an http(s) address"),
        ("KITH_APP_NAME", "Bank 1234", "four digits in a row"),
        ("KITH_DEFAULT_LOCALE", "German, please", "is not a language such as en or pt-BR"),
        ("KITH_DEFAULT_REGION", "XX", "there is no country XX"),
        ("KITH_DEFAULT_REGION", "001", "there is no country 001"),
        ("KITH_DATABASE_URL", "sqlite://", "must be sqlite:///path"),
        ("KITH_SECRET_KEY", "short", "at least 32 characters"),
    ],
)
def test_values_that_make_no_sense(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    """Each is refused with its variable's name and what is expected."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert variable in str(refused.value)
    assert said in str(refused.value)
