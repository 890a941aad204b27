"""The routing file: prices by provider, country and channel, pins, and what is refused at start."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.settings import SettingsError
from settings import Settings
from sms.routing_file import Routing, load_routing
from tests.databases import ROOT

PROVIDERS = ("twilio", "smpp")
HEAD = """currency = "EUR"
choice = { margin = 0.05, half_life_sends = 300, patience_seconds = 180 }
"""
DEFAULT = """[prices.default]
sms = { default = 0.05 }
voice = { default = 0.2 }
"""


class File:
    """A routing file to write and to load."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, text: str) -> Routing:
        """Write it and load it."""
        self.path.write_text(text)
        return load_routing(Settings(routing_file=self.path), PROVIDERS)

    def faults(self, text: str) -> list[str]:
        """Give what is wrong with it."""
        with pytest.raises(SettingsError) as refused:
            self.load(text)
        _, *lines = str(refused.value).splitlines()
        return [line.removeprefix(f"  - {self.path}:") for line in lines]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """A file."""
    return File(tmp_path / "routing.toml")


def test_the_default_is_complete() -> None:
    """Every provider has a price everywhere, and nobody is pinned."""
    routing = load_routing(Settings(), PROVIDERS)
    assert routing.pins == {}
    for provider in PROVIDERS:
        assert routing.price_micros(provider, "DE", "sms") > 0
        assert routing.price_micros(provider, "001", "voice") > 0


def test_the_examples_in_the_default_are_right(file: File) -> None:
    """What it has as comments can be taken out of them."""
    text = (ROOT / "sms" / "routing.toml").read_text()
    examples = ("CN =", "DE =", "US =", "default =", "[prices.")
    lines = [
        line.removeprefix("# ") if line.removeprefix("# ").startswith(examples) else line
        for line in text.splitlines()
    ]
    routing = file.load("\n".join(lines))
    assert routing.pins == {"CN": ("smpp",), "DE": ("smpp", "twilio")}
    assert routing.price_micros("twilio", "DE", "sms") == 92_500


def test_whose_price_it_is(file: File) -> None:
    """The provider's for the country, else its for anywhere, else everyone's, to a millionth."""
    routing = file.load(
        HEAD + DEFAULT + "[prices.twilio.sms]\ndefault = 0.0079\nDE = 0.0925\nUS = 0\n"
    )
    assert routing.price_micros("twilio", "DE", "sms") == 92_500
    assert routing.price_micros("twilio", "US", "sms") == 0
    assert routing.price_micros("twilio", "FR", "sms") == 7_900
    assert routing.price_micros("twilio", "DE", "voice") == 200_000
    assert routing.price_micros("smpp", "DE", "sms") == 50_000


def test_prices_of_who_is_not_in_use(file: File) -> None:
    """They may stay in the file, so that taking a provider out is one setting; pins may not."""
    assert file.load(HEAD + DEFAULT + "[prices.webhook.sms]\ndefault = 1\n")
    assert file.faults(HEAD + '[pins]\nDE = ["twilio", "webhook"]\n' + DEFAULT) == [
        "4: pins.DE: webhook is not in KITH_SMS_PROVIDER"
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (HEAD + DEFAULT + "[prices.acme]\n", "6: prices.acme: there is no provider acme"),
        (
            HEAD + DEFAULT + "[prices.smpp.sms]\ndefault = 1\nXX = 1\n",
            "8: prices.smpp.sms.XX: there is no country XX; use ISO 3166 codes like DE",
        ),
        (
            HEAD + DEFAULT + "[prices.smpp.sms]\ndefault = 1\nGB = -0.01\n",
            "8: prices.smpp.sms.GB: Input should be greater than or equal to 0",
        ),
        (
            HEAD + DEFAULT + "[prices.smpp.sms]\ndefault = nan\n",
            "7: prices.smpp.sms.default: Input should be",
        ),
        (
            HEAD + DEFAULT + '[prices.smpp.sms]\ndefault = "1"\n',
            "7: prices.smpp.sms.default: Input should be a valid number",
        ),
        (
            HEAD + DEFAULT + "[prices.smpp.sms]\nDE = 1\n",
            "6: prices.smpp.sms: needs a price called default",
        ),
        (HEAD + DEFAULT + "[prices.smpp.mms]\n", "6: prices.smpp.mms: there is no such key"),
        (
            HEAD + "[prices.default]\nsms = { default = 1 }\n",
            "3: prices: needs prices.default with sms and voice",
        ),
        (HEAD + DEFAULT + "[pins]\nXX = 'smpp'\n", "7: pins.XX: there is no country XX"),
        (HEAD + DEFAULT + "[pins]\nDE = []\n", "7: pins.DE: needs at least one provider"),
        (HEAD + DEFAULT + "[pins]\nDE = ['smpp', 'smpp']\n", "7: pins.DE: needs at least one"),
        (HEAD + DEFAULT + "[routes]\n", "6: routes: there is no such key"),
        (
            HEAD.replace("0.05", "-1") + DEFAULT,
            "2: choice.margin: Input should be greater than or equal to 0",
        ),
        (
            HEAD.replace("300", "0") + DEFAULT,
            "2: choice.half_life_sends: Input should be greater than or equal to 10",
        ),
        (HEAD.replace("EUR", "eur") + DEFAULT, "1: currency: is not written as"),
        (HEAD.replace("margin", "magin") + DEFAULT, "2: choice.magin: there is no such key"),
        (HEAD + DEFAULT + "[pins\n", "6: Expected ']' at the end of a table declaration"),
    ],
)
def test_what_is_refused(file: File, text: str, fault: str) -> None:
    """Each fault is told with its line, its key and the reason."""
    assert file.faults(text)[0].startswith(fault)


@pytest.mark.slow
def test_the_server_does_not_start(tmp_path: Path) -> None:
    """A fault in the file ends the start once, before a worker is tried, with no traceback."""
    path = tmp_path / "routing.toml"
    path.write_text(HEAD)
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"],
        cwd=ROOT,
        env={"KITH_DATA_DIR": str(tmp_path / "data"), "KITH_ROUTING_FILE": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert done.stderr.count(f"{path}:1: prices: is missing") == 1
    assert "Traceback" not in done.stdout + done.stderr
