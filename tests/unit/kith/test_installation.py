"""A bare `kith` does lookups, verification and sync; the extra `kith[messages]` adds messages."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kith.commands.message_store import store_path
from kith.storage import CredentialsFile
from tests.unit.kith.canned import (
    ACCOUNT,
    PARAMETERS,
    REGISTRATION,
    VERIFICATION,
    Script,
    ok,
)
from tests.unit.kith.conftest import Run

ROOT = Path(__file__).parents[3]
HINT = "Messages need more packages: pip install 'kith[messages]'"
#: The packages of the extra, and their modules.
EXTRA = {
    "argon2-cffi": "argon2",
    "cryptography": "cryptography",
    "doubleratchet": "doubleratchet",
    "simple-websocket": "simple_websocket",
    "wsproto": "wsproto",
    "x3dh": "x3dh",
    "xeddsa": "xeddsa",
}
MODULES = set(EXTRA.values())
MISSING = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MODULES}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
USERS = ("kith.messaging", *(f"kith.commands.{name}" for name in ("chat", "groups", "keys")))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, script: Script) -> Script:
    """Make the packages of the extra missing; return a server for what a bare command does."""
    for name in list(sys.modules):
        if name.partition(".")[0] in MODULES:
            monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
        elif name.startswith((*USERS, "kith.commands.messag")):
            monkeypatch.delitem(sys.modules, name)
    return (
        script.on("POST /v1/verifications", ok(VERIFICATION, 201))
        .on(f"POST /v1/verifications/{VERIFICATION['id']}/checks", ok(VERIFICATION))
        .on("POST /v1/registrations", ok(REGISTRATION, 201))
        .on("GET /v1/account", ok(ACCOUNT))
        .on("GET /v1/discovery/parameters", ok(PARAMETERS))
        .on("POST /v1/discovery/lookups", ok({"matches": {}}))
        .on(f"DELETE /v1/devices/{ACCOUNT['device_id']}", ok())
    )


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which the packages of the extra are missing."""
    command = [sys.executable, "-c", MISSING + code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_extra_is_what_messages_need() -> None:
    """The packages of the extra are no dependencies of a bare installation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert set(project["optional-dependencies"]["messages"]) == set(EXTRA)
    assert not set(project["dependencies"]) & set(EXTRA)


def test_a_bare_installation_imports_nothing_of_messages() -> None:
    """The library, its sync and the command are imported without any package of the extra."""
    modules = "kith, kith.contacts, kith.sync, kith.cli, kith.commands.sync"
    done = python(f"import {modules}, kith.commands.registration, kith.commands.account")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_bare_library_says_how_to_install_messages() -> None:
    """The import of kith.messaging fails with one line that says what to do."""
    done = python("import kith.messaging.keys")

    assert done.stderr.splitlines()[-1] == f"kith.errors.MessagesNotInstalled: {HINT}"


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    "arguments",
    [
        ("send", "Ann", "--group", "hello"),
        ("inbox", "--wait", "5"),
        ("chat", "Ann"),
        ("keys",),
        ("groups", "create", "Hiking"),
        ("block", "Ann"),
    ],
)
def test_a_bare_command_says_how_to_install_messages(arguments: tuple[str, ...], run: Run) -> None:
    """A command about messages ends with one line and the code of wrong use."""
    done = run(*arguments)

    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"kith: {HINT}\n")


@pytest.mark.usefixtures("bare")
def test_a_bare_command_registers_and_syncs(run: Run) -> None:
    """Registration, sync, numbers and logout need no package of the extra."""
    number = "+4915112345678"
    registered = run("register", number, stdin="123456\n")
    synced = run("sync", "-", stdin=f"name,phone\nAnn,{number[:-1]}9\n")
    shown = run("numbers", "-", stdin=f"name,phone\nAnn,{number}\n")
    left = run("logout")

    assert (registered.exit_code, registered.stdout[:22]) == (0, f"You are {number}")
    assert (synced.exit_code, synced.stderr) == (0, "")
    assert "1 contact, 1 number, 0 unreadable, 0 here" in synced.stdout
    assert number in shown.stdout
    assert (left.exit_code, left.stdout) == (0, "Signed out.\n")


@pytest.mark.usefixtures("bare")
def test_keys_are_not_lost_by_a_bare_installation(run: Run, credentials_path: Path) -> None:
    """Where this machine has keys that it cannot open, a registration asks before it goes on."""
    run("register", "+4915112345678", stdin="123456\n")
    store = store_path(CredentialsFile(credentials_path).load())
    store.parent.mkdir(parents=True, exist_ok=True)
    store.touch()

    again = run("register", "+4915112345678", stdin="123456\nn\n")

    assert again.exit_code == 130
    assert HINT in again.stderr
    assert "Go on without the keys of this device?" in again.stderr


@pytest.mark.usefixtures("bare")
def test_the_help_lists_all_commands(run: Run) -> None:
    """Commands that are not there are listed with what to do."""
    done = run("--help")

    assert done.exit_code == 0
    assert "  sync  " in done.stdout
    assert "  send          Messages need more packages" in done.stdout


def test_unknown_commands_are_named(run: Run) -> None:
    """A name that is no command ends with the code of wrong use."""
    done = run("dance")

    assert done.exit_code == 2
    assert "No such command 'dance'" in done.stderr
