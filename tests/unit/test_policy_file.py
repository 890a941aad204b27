"""The policy file: the default is whole, and whatever is wrong with another is told with its line."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from core.settings import SettingsError
from tests.conftest import MakeApp
from tests.databases import ROOT
from tests.policies import CHALLENGE, velocity, write_policy
from verification.policy.conversion import ConversionRule
from verification.policy.file import DEFAULT, load_policy
from verification.policy.rules import BUCKET_NAMES, BudgetRule, CountryRule, VelocityRule

LINES_OF_CHALLENGE = len(CHALLENGE.splitlines())
CONVERSION = """[[rules]]
rule = "conversion"
of = "prefix"
hour = { floor = 3, best = 0.2, last = 0.2 }
day = { floor = 5, best = 0.2, last = 0.2 }
"""


def faults(directory: Path, *rules: str, challenge: str = CHALLENGE) -> list[str]:
    """Give what is wrong with a policy, as `line: key: reason`, counted from the first rule."""
    path = write_policy(directory, *rules, challenge=challenge)
    with pytest.raises(SettingsError) as refused:
        load_policy(path)
    headline, *lines = str(refused.value).splitlines()
    assert headline == "Kith cannot start with this file:"
    found = [re.fullmatch(rf"  - {re.escape(str(path))}:(\d+): (.*)", line) for line in lines]
    before = len(challenge.splitlines())
    return [f"{int(match[1]) - before}: {match[2]}" for match in found if match]


def test_the_default_is_a_whole_policy() -> None:
    """Every kind of rule is in it, each that counts sends too, and what development does not enforce."""
    policy = load_policy(None)
    assert [rule.label for rule in policy.rules] == [
        "number-type",
        "country",
        "range",
        "velocity/number-and-requester",
        "velocity/reserve-number",
        "velocity/reserve-subnet",
        "velocity/number",
        "velocity/network",
        "velocity/subnet",
        "velocity/prefix",
        "velocity/country",
        "countries",
        "conversion/prefix",
        "conversion/country",
        "budget/total",
        "budget/country",
        "budget/prefix",
    ]
    assert {rule.of for rule in policy.rules if isinstance(rule, VelocityRule)} == set(BUCKET_NAMES)
    assert policy.challenge.lifetime == timedelta(minutes=10)
    assert {policy.mode_of(rule, development=False) for rule in policy.rules} == {"enforce"}
    enforced = [r.label for r in policy.rules if policy.mode_of(r, development=True) == "enforce"]
    assert enforced == [
        "number-type",
        "country",
        "range",
        "velocity/number-and-requester",
    ]


def test_a_copy_of_the_default_is_the_default(tmp_path: Path) -> None:
    """The file that operators are told to copy is the one that is shipped."""
    copy = tmp_path / "copy.toml"
    copy.write_bytes(DEFAULT.read_bytes())
    assert load_policy(copy) == load_policy(None)


def test_a_recording_rule_records_everywhere(tmp_path: Path) -> None:
    """And in_development says otherwise only in development."""
    path = write_policy(
        tmp_path,
        velocity("number-and-requester", 1) + 'mode = "record"\n',
        velocity("network", 1) + 'mode = "record"\nin_development = "enforce"\n',
        velocity("prefix", 1) + 'in_development = "record"\n',
    )
    policy = load_policy(path)
    assert [policy.mode_of(rule, development=False) for rule in policy.rules] == [
        "record",
        "record",
        "enforce",
    ]
    assert [policy.mode_of(rule, development=True) for rule in policy.rules] == [
        "record",
        "enforce",
        "record",
    ]


def test_countries_as_an_operator_writes_them(tmp_path: Path) -> None:
    """In any case, and as people call them."""
    rule = '[[rules]]\nrule = "country"\nallow = ["de", "uk"]\ndeny = ["EL", "001"]\n'
    (country,) = load_policy(write_policy(tmp_path, rule)).rules
    assert isinstance(country, CountryRule)
    assert (country.allow, country.deny) == (("DE", "GB"), ("GR", "001"))


def test_a_policy_without_rules(tmp_path: Path) -> None:
    """It is one, which sends everything."""
    path = write_policy(tmp_path, "rules = []", challenge="")
    path.write_text("rules = []\n" + CHALLENGE)
    assert load_policy(path).rules == ()


def test_what_is_left_out(tmp_path: Path) -> None:
    """A conversion rule never denies and spares nobody, unless it says so; a budget keeps a quarter."""
    money = '[[rules]]\nrule = "budget"\nof = "total"\nper_day = 1.0\n'
    rule, budget = load_policy(write_policy(tmp_path, CONVERSION, money)).rules
    assert isinstance(rule, ConversionRule) and isinstance(budget, BudgetRule)
    assert (rule.lost_per_day, rule.spare) == (None, 0)
    assert (rule.mode, rule.in_development) == ("enforce", None)
    assert budget.reserve == 0.25


VELOCITY = velocity("network", 5)


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ('[[rules]]\nrule = "luck"', "1: rules[0]: Input tag 'luck' found using 'rule' "),
        ("[[rules]]\nsends = 5", "1: rules[0]: Unable to extract tag using discriminator"),
        (VELOCITY + "limit = 3", "7: rules[0].limit: there is no such key"),
        (VELOCITY.replace("5", '"5"'), "4: rules[0].sends: Input should be a valid integer"),
        (VELOCITY.replace("5", "5.0"), "4: rules[0].sends: Input should be a valid integer"),
        (VELOCITY.replace("5", "true"), "4: rules[0].sends: Input should be a valid integer"),
        (VELOCITY.replace("5", "0"), "4: rules[0].sends: Input should be greater than or"),
        (VELOCITY.replace("5", "1000001"), "4: rules[0].sends: Input should be less than or"),
        (VELOCITY.replace("network", "planet"), "3: rules[0].of: Input should be 'number-and-"),
        (VELOCITY.replace("sends = 5\n", ""), "1: rules[0].sends: is missing"),
        (VELOCITY.replace("1d", "1w"), "5: rules[0].period: write a duration as 90s, 10m, 1h"),
        (VELOCITY.replace('"1d"', "60"), "5: rules[0].period: write a duration as 90s, 10m, 1h"),
        (VELOCITY.replace("1d", "-1d"), "5: rules[0].period: write a duration as 90s, 10m, 1h"),
        (VELOCITY.replace("1d", "9" * 30 + "d"), "5: rules[0].period: write a duration as 90s"),
        (VELOCITY.replace("1d", "99999999d"), "5: rules[0].period: Input should be less than or"),
        (VELOCITY.replace("1d", "0s"), "5: rules[0].period: Input should be greater than or"),
        (
            VELOCITY.replace("challenge", "ask"),
            "6: rules[0].over: Input should be 'challenge' or 'deny'",
        ),
        *(
            (
                velocity(of, 5, over="deny"),
                f'1: rules[0]: over = "deny" by {of} would let strangers lock owners out',
            )
            for of in ("number", "network", "subnet", "prefix", "country")
        ),
        (
            '[[rules]]\nrule = "countries"\nmax = 3\nover = "deny"',
            '1: rules[0]: over = "deny" would let strangers lock out whoever shares their network',
        ),
        (CONVERSION + "deny_at = 4.0", "1: rules[0]: deny_at would let strangers close a prefix"),
        (CONVERSION + "lost_per_day = -1.0", "6: rules[0].lost_per_day: Input should be greater"),
        (
            '[[rules]]\nrule = "budget"\nof = "total"\nper_day = 1.0\nreserve = 1.5',
            "5: rules[0].reserve: Input should be less than or",
        ),
        (VELOCITY + VELOCITY, "1: rules: these rules are repeated: velocity/network"),
        ('[[rules]]\nrule = "country"\nallow = ["XX"]', "3: rules[0].allow[0]: there is no countr"),
        ('[[rules]]\nrule = "country"\ndeny = "DE"', "3: rules[0].deny: Input should be a valid "),
        ('[[rules]]\nrule = "number-type"\ndeny = ["fax"]', "3: rules[0].deny[0]: Input should be"),
        (
            '[[rules]]\nrule = "budget"\nof = "total"\nper_day = -1.0',
            "4: rules[0].per_day: Input s",
        ),
        ('[[rules]]\nrule = "budget"\nof = "total"\nper_day = nan', "4: rules[0].per_day: Input s"),
        ('[[rules]]\nrule = "budget"\nof = "total"\nper_day = inf', "4: rules[0].per_day: Input s"),
        (
            '[[rules]]\nrule = "budget"\nof = "total"\nper_day = 1.0\ncountries = { DE = 1.0 }',
            '1: rules[0]: countries = {…} goes with of = "country"',
        ),
        (
            '[[rules]]\nrule = "budget"\nof = "country"\nper_day = 1.0\ncountries = { XX = 1.0 }',
            "5: rules[0].countries.XX: there is no country XX; use ISO 3166 codes like DE",
        ),
        (CONVERSION.replace("floor = 3", "floor = -3"), "4: rules[0].hour.floor: Input should be"),
        (CONVERSION.replace("best", "most"), "4: rules[0].hour.best: is missing"),
        (
            '[[rules]]\nrule = "countries"\nmax = 0\nover = "deny"',
            "3: rules[0].max: Input should",
        ),
        (VELOCITY + 'mode = "off"', "7: rules[0].mode: Input should be 'enforce' or 'record'"),
        ("[[rules]]\nrule = velocity", "2: Invalid value"),
        ("[challenge]", "1: Cannot declare ('challenge',) twice"),
    ],
)
def test_what_is_wrong_with_a_rule(tmp_path: Path, rule: str, fault: str) -> None:
    """Each fault is told with its line and its key."""
    found = faults(tmp_path, rule)
    assert any(line.startswith(fault) for line in found), found


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """In the order they stand in."""
    found = faults(tmp_path, VELOCITY.replace("5", "0"), CONVERSION.replace("0.2", "99.0"))
    assert [int(line.partition(":")[0]) for line in found] == [4, 11, 11, 12, 12]


@pytest.mark.parametrize(
    ("challenge", "fault"),
    [
        ("", "1: challenge: is missing"),
        (CHALLENGE.replace("iterations = 1\n", ""), "challenge.iterations: is missing"),
        (CHALLENGE.replace("iterations = 1", "iterations = 0"), "challenge.iterations: Input sho"),
        (CHALLENGE.replace("tries = 16", "tries = 0"), "challenge.tries: Input should be greater"),
        (CHALLENGE + 'prefix = "000"\n', "challenge: prefix does not bound the time"),
        (
            CHALLENGE.replace("iterations = 1\n", "iterations = 5000\n").replace("16", "800"),
            "challenge: the hardest challenge would take a five-year-old phone 81.3 seconds",
        ),
        (CHALLENGE.replace("10m", "soon"), "challenge.lifetime: write a duration as 90s"),
    ],
)
def test_what_is_wrong_with_the_challenge(tmp_path: Path, challenge: str, fault: str) -> None:
    """A policy says how hard its challenges are."""
    assert any(fault in line for line in faults(tmp_path, VELOCITY, challenge=challenge))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It is not there, is a directory, or is no text."""
    path = tmp_path / "policy.toml"
    with pytest.raises(SettingsError, match=re.escape(f"{path}: cannot be read: No such file")):
        load_policy(path)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_policy(tmp_path)
    path.write_bytes(CHALLENGE.encode() + b"# Gru\xdf\n")
    with pytest.raises(SettingsError, match=rf"policy.toml:{LINES_OF_CHALLENGE + 1}: is not UTF-8"):
        load_policy(path)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_an_application_with_a_bad_policy(make_app: MakeApp, tmp_path: Path) -> None:
    """It is not made."""
    with pytest.raises(SettingsError, match="there is no such key"):
        make_app(policy_file=write_policy(tmp_path, VELOCITY + "limit = 3"))


@pytest.mark.parametrize(
    "command",
    [
        ("-c", "import wsgi"),
        ("-m", "gunicorn", "-c", "gunicorn.conf.py", "--bind", "127.0.0.1:0", "wsgi:app"),
    ],
)
@pytest.mark.slow
def test_a_server_with_a_bad_policy(tmp_path: Path, command: tuple[str, ...]) -> None:
    """It does not start, and says why without a traceback."""
    path = write_policy(tmp_path, VELOCITY.replace("5", "-5"))
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"KITH_POLICY_FILE": str(path), "KITH_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"{path}:{LINES_OF_CHALLENGE + 4}: rules[0].sends: Input should be greater" in told
    assert "Traceback" not in told
