"""`kith sync` against the service: what the client sends is what the server understands."""

import json

import httpx
import pytest
from click.testing import CliRunner

from kith.cli import main
from kith.commands.errors import BUDGET_USED_UP, NOT_SIGNED_IN
from kith.commands.session import Dependencies

ANNA, BEN, CARLA = "+4915112345601", "+4915112345602", "+4915112345603"
SERVER = "https://kith.test"


@pytest.fixture
def app(make_app):
    """The application with small pages and budgets, whose log is not mixed with the command's output."""
    return make_app(max_hashes=2, discovery_burst=7, discovery_per_day=5, log_level="warning")


@pytest.fixture
def sync(app, register, tmp_path, monkeypatch):
    """Run the command over some numbers, as Anna or with a token file; give its JSON."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KITH_SERVER", SERVER)
    monkeypatch.setenv("KITH_TOKEN", register(ANNA).token)

    def run(*numbers, given=(), options=(), exit_code=0):
        book = "".join(json.dumps({"name": number, "phone": number}) + "\n" for number in numbers)
        result = CliRunner().invoke(
            main,
            [*given, "sync", "-", "--json", *options],
            input=book,
            obj=Dependencies(transport=httpx.WSGITransport(app)),
        )
        assert result.exit_code == exit_code, result.stderr
        return json.loads(result.stdout or "{}")

    return run


def test_people_are_found_run_after_run(register, sync):
    """A run finds who is here, the next one tells who is new, and both find the same people."""
    ben = register(BEN)
    first = sync(BEN, CARLA)
    assert [match["account_id"] for match in first["matches"]] == [ben.account_id]
    carla = register(CARLA)

    second = sync(BEN, CARLA, "+4915112345604", options=("--watch-new",))

    assert [match["account_id"] for match in second["matches"]] == [carla.account_id]
    assert (second["here"], second["new"], second["waiting"]) == (2, 1, 0)


def test_a_book_of_several_pages(register, sync):
    """Every page is asked about, in the first run and in the next."""
    register(BEN)
    register(CARLA)
    numbers = [BEN, *(f"+491511234570{n}" for n in range(4)), CARLA]

    for _ in range(2):
        found = sync(*numbers)
        assert [match["phone_number"] for match in found["matches"]] == [BEN, CARLA]
        assert (found["numbers"], found["here"], found["waiting"]) == (6, 2, 0)


def test_a_book_larger_than_the_budget(register, sync, clock):
    """Run day after day it gets through the book; nobody is paid for twice and nobody is missed."""
    numbers = [f"+49151123457{n:02}" for n in range(20)]
    register(numbers[3])
    register(numbers[17])

    for day, waiting in ((0, 13), (0, 13), (1, 8), (1, 3)):
        clock.advance(days=day)
        assert sync(*numbers, exit_code=BUDGET_USED_UP)["waiting"] == waiting
    for day in (1, 0):
        clock.advance(days=day)
        found = sync(*numbers)
        assert (found["waiting"], found["here"]) == (0, 2)


@pytest.fixture
def issue(app, tmp_path):
    """Issue a token to a service with the operator's command; give the options that name its file."""

    def make(name, budget):
        words = ["tokens", "issue-service", name, "--scope", "discovery", "--budget", budget]
        issued = app.test_cli_runner().invoke(args=words)
        assert issued.exit_code == 0, issued.output
        path = tmp_path / f"{name}-{budget}.token"
        path.write_text(issued.stdout)
        return ("--token-file", str(path))

    return make


def test_a_service_with_a_budget_of_its_own(app, register, sync, issue):
    """A job of the operator's goes on with a larger budget under its next token, until it is revoked."""
    numbers = [f"+49151123457{n:02}" for n in range(20)]
    ben = register(numbers[1])
    first = issue("crm", "4:1")

    assert sync(*numbers, given=first, exit_code=BUDGET_USED_UP)["waiting"] == 16
    found = sync(*numbers, given=issue("crm", "20:1"))
    assert [match["account_id"] for match in found["matches"]] == [ben.account_id]
    assert found["waiting"] == 0

    services = app.extensions["kith"].tokens.service_tokens
    for token in services.all():
        services.revoke(token.id)
    assert sync(*numbers, given=first, exit_code=NOT_SIGNED_IN) == {}
