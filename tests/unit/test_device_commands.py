"""`flask --app app devices …`: an operator sees and revokes the devices of a number."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from click.testing import Result
from flask_openapi3 import OpenAPI

from tests.conftest import NUMBER, OTHER_NUMBER, Person, problem_code
from tests.contract.openapi import ContractClient

Run = Callable[..., Result]


@pytest.fixture
def run(app: OpenAPI) -> Run:
    """Run a command."""
    return lambda *arguments: app.test_cli_runner().invoke(args=["devices", *arguments])


@pytest.fixture
def person(register: Callable[..., Person]) -> Person:
    """Whose devices they are."""
    return register(NUMBER, device={"name": "Phone", "platform": "android"})


@pytest.mark.parametrize("by", ["number", "account"])
def test_devices_are_listed(run: Run, person: Person, by: str) -> None:
    """By number or account, for people and for scripts; a token is in neither."""
    who = NUMBER if by == "number" else person.account_id
    (row,) = json.loads(run("list", who, "--json").stdout)
    assert (row["id"], row["name"], row["revoked"]) == (person.device_id, "Phone", None)
    shown = run("list", who)
    assert person.device_id in shown.stdout
    assert person.token not in shown.output


def test_a_device_is_revoked(run: Run, client: ContractClient, person: Person) -> None:
    """Its token is refused from now on; it is still there, with its mailbox."""
    done = run("revoke", NUMBER, person.device_id)
    assert done.exit_code == 0
    assert "1 of 1 devices were revoked." in done.stderr
    answer = client.get("/v1/account", headers=person.headers)
    assert problem_code(answer) == "token-invalid"
    assert "recover_device" in answer.json["detail"]
    (row,) = json.loads(run("list", NUMBER, "--json").stdout)
    assert row["revoked"] == "2026-03-01T12:00:00Z"
    assert "0 of 1" in run("revoke", NUMBER, "--all").stderr


def test_devices_are_deleted(run: Run, client: ContractClient, person: Person) -> None:
    """With --delete nothing is kept."""
    assert run("revoke", person.account_id, "--all", "--delete").exit_code == 0
    assert problem_code(client.get("/v1/account", headers=person.headers)) == "token-invalid"
    assert "no device" in run("list", NUMBER).stderr


@pytest.mark.usefixtures("person")
@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("list", OTHER_NUMBER), 1, "No account"),
        (("list", "nonsense"), 2, "phone number"),
        (("revoke", NUMBER), 2, "--all"),
        (("revoke", NUMBER, str(uuid4())), 1, "no device"),
        (("revoke", NUMBER, str(uuid4()), "--all"), 2, "--all"),
    ],
)
def test_wrong_input(run: Run, arguments: tuple[str, ...], exit_code: int, said: str) -> None:
    """Nothing happens, and the mistake is named."""
    done = run(*arguments)
    assert done.exit_code == exit_code
    assert said in done.stderr


def test_nothing_of_a_number_is_logged(run: Run, person: Person) -> None:
    """The log names the account."""
    done = run("revoke", NUMBER, "--all")
    assert NUMBER not in done.output
    assert person.account_id in done.output


@pytest.mark.parametrize("arguments", [("list",), ("revoke", "--all")])
def test_an_account_that_is_not_there(run: Run, arguments: tuple[str, ...]) -> None:
    """It is like a number that nobody has."""
    for who in (str(uuid4()), OTHER_NUMBER):
        done = run(arguments[0], who, *arguments[1:])
        assert (done.exit_code, done.stdout) == (1, "")
