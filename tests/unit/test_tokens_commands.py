"""`flask --app app tokens …`: what is printed where, and what wrong input gets."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from flask_openapi3 import OpenAPI

from tests.conftest import Clock
from tests.databases import ROOT
from tokens.service_tokens import DISCOVERY, SEND_AND_VALIDATE

ISSUE = ("issue-service", "shop", "--scope", SEND_AND_VALIDATE)
LOOK_UP = ("issue-service", "crm", "--scope", DISCOVERY, "--budget", "20000:500")
TOKEN = re.compile(r"kithsvc_[A-Za-z0-9_-]{70}\n")


def run(app: OpenAPI, *arguments: str) -> Result:
    """Run a command."""
    return app.test_cli_runner().invoke(args=["tokens", *arguments])


def rows(app: OpenAPI) -> list[dict[str, str]]:
    """List the tokens as a script does."""
    return list(json.loads(run(app, "list-services", "--json").stdout))


def test_issue_prints_the_token_alone(app: OpenAPI) -> None:
    """A script captures the token from standard output; what a person needs is beside it."""
    done = run(app, *ISSUE)
    assert done.exit_code == 0
    assert TOKEN.fullmatch(done.stdout)
    assert done.stdout.strip() not in done.stderr
    caller = app.extensions["kith"].tokens.service_tokens.authenticate(done.stdout.strip())
    assert str(caller.id) in done.stderr
    assert caller.name == "shop"


@pytest.mark.parametrize(
    ("given", "expires"),
    [
        ((), "2026-05-30T12:00:00Z"),
        (("--expires", "1h"), "2026-03-01T13:00:00Z"),
        (("--expires", "730d"), "2028-02-29T12:00:00Z"),
    ],
)
def test_how_long_it_is_good(app: OpenAPI, given: tuple[str, ...], expires: str) -> None:
    """90 days, or as many days or hours as are asked for."""
    assert run(app, *ISSUE, *given).exit_code == 0
    assert [row["expires"] for row in rows(app)] == [expires]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("issue-service", "shop"), "--scope"),
        (("issue-service", "--scope", SEND_AND_VALIDATE), "NAME"),
        (("issue-service", "shop", "--scope", "everything"), SEND_AND_VALIDATE),
        (("issue-service", "a shop", "--scope", SEND_AND_VALIDATE), "letters"),
        ((*ISSUE, "--expires", "731d"), "730d"),
        ((*ISSUE, "--expires", "0h"), "730d"),
        ((*ISSUE, "--expires", "90"), "such as 90d"),
        ((*ISSUE, "--expires", "-1d"), "such as 90d"),
        ((*ISSUE, "--expires", "9999999d"), "such as 90d"),
        (("revoke-service", "shop"), "UUID"),
        (LOOK_UP[:-2], "budget"),
        ((*ISSUE, "--budget", "5:1"), "budget"),
        ((*LOOK_UP[:-1], "20000"), "such as 20000:500"),
        ((*LOOK_UP[:-1], "20000:1"), "400 days"),
    ],
)
def test_wrong_input_is_explained(app: OpenAPI, arguments: tuple[str, ...], named: str) -> None:
    """It says what would be right, prints nothing on standard output, and does nothing."""
    done = run(app, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert named in done.stderr
    assert rows(app) == []


def test_list_shows_what_each_is(app: OpenAPI, clock: Clock) -> None:
    """One line a token with its state; no token, and nothing to copy one from."""
    nothing = run(app, "list-services")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    tokens = [run(app, *ISSUE, "--expires", life).stdout.strip() for life in ("1h", "2d", "3d")]
    service = app.extensions["kith"].tokens.service_tokens
    service.authenticate(tokens[1])
    longest = max(rows(app), key=lambda row: row["expires"])
    run(app, "revoke-service", longest["id"])
    clock.advance(hours=1)
    listed = sorted(rows(app), key=lambda row: row["expires"])
    assert [row["state"] for row in listed] == ["expired", "valid", "revoked"]
    assert [row["last_used"] for row in listed] == [None, "2026-03-01T12:00:00Z", None]
    table = run(app, "list-services").stdout
    assert len(table.splitlines()) == 4
    assert all(row["id"] in table for row in listed)
    assert "kithsvc_" not in table


def test_a_budget_is_given_and_listed(app: OpenAPI) -> None:
    """A token for lookups has one; beside it others have none."""
    assert run(app, *ISSUE).exit_code == 0
    assert run(app, *LOOK_UP).exit_code == 0
    assert {row["name"]: row["budget"] for row in rows(app)} == {"shop": None, "crm": "20000:500"}
    header, *lines = run(app, "list-services").stdout.splitlines()
    assert "budget" in header
    assert sorted("20000:500" in line for line in lines) == [False, True]


def test_revoke(app: OpenAPI) -> None:
    """It works at once and can be repeated; an id that is no token's is an error."""
    run(app, *ISSUE)
    (row,) = rows(app)
    for _ in range(2):
        assert run(app, "revoke-service", row["id"]).exit_code == 0
    assert [row["state"] for row in rows(app)] == ["revoked"]
    unknown = run(app, "revoke-service", "00000000-0000-4000-8000-000000000000")
    assert unknown.exit_code == 1
    assert "list-services" in unknown.stderr


@pytest.mark.slow
def test_standard_output_is_the_token_even_with_a_log(
    database_url: str, database: object, tmp_path: Path
) -> None:
    """As a process of its own, its log lines go to standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "tokens", *ISSUE],
        cwd=ROOT,
        env=os.environ
        | {
            "KITH_DATA_DIR": str(tmp_path),
            "KITH_DATABASE_URL": database_url,
            "KITH_SMS_PROVIDER": "twilio",
            "KITH_TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
            "KITH_TWILIO_AUTH_TOKEN": "t" * 32,
            "KITH_TWILIO_FROM": "+15005550006",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert TOKEN.fullmatch(done.stdout)
    assert "twilio.no_delivery_reports" in done.stderr
    assert done.stdout.strip() not in done.stderr
