"""A bare `kith` does lookups, verification and sync; the extra `kith[messages]` adds messages."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HINT = "Messages need more packages: pip install 'kith[messages]'"
#: The packages of the extra, and their modules.
EXTRA = {
    "argon2-cffi": "argon2",
    "cryptography": "cryptography",
    "doubleratchet": "doubleratchet",
    "simple-websocket": "simple_websocket",
    "x3dh": "x3dh",
    "xeddsa": "xeddsa",
}
BARE = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {set(EXTRA.values())}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
KITH = """
from kith.cli import main
from kith.commands.session import Dependencies
from tests.unit.kith.canned import ACCOUNT, PARAMETERS, REGISTRATION, VERIFICATION, Script, ok

script = (
    Script()
    .on("POST /v1/verifications", ok(VERIFICATION, 201))
    .on("POST /v1/verifications/" + VERIFICATION["id"] + "/checks", ok(VERIFICATION))
    .on("POST /v1/registrations", ok(REGISTRATION, 201))
    .on("GET /v1/account", ok(ACCOUNT))
    .on("GET /v1/discovery/parameters", ok(PARAMETERS))
    .on("POST /v1/discovery/lookups", ok({"matches": {}}))
    .on("DELETE /v1/devices/" + ACCOUNT["device_id"], ok())
)
main(sys.argv[1:], obj=Dependencies(transport=script), prog_name="kith")
"""


def run(
    code: str, *arguments: str, home: Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process in which the packages of the extra are missing."""
    return subprocess.run(
        [sys.executable, "-c", BARE + code, *arguments],
        input=stdin,
        env={"HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_extra_is_what_messages_need() -> None:
    """The packages of the extra are no dependencies of a bare installation."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert set(project["optional-dependencies"]["messages"]) == set(EXTRA)
    assert not set(project["dependencies"]) & set(EXTRA)


def test_a_bare_installation_imports_nothing_of_messages(tmp_path: Path) -> None:
    """The library and its sync are imported without any package of the extra."""
    done = run("import kith, kith.contacts, kith.sync, kith.cli", home=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_bare_library_says_how_to_install_messages(tmp_path: Path) -> None:
    """The import of kith.messaging fails with one line that says what to do."""
    done = run("import kith.messaging.keys", home=tmp_path)

    assert done.stderr.splitlines()[-1] == f"kith.errors.MessagesNotInstalled: {HINT}"


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
def test_a_bare_command_says_how_to_install_messages(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """A command about messages ends with one line and the code of wrong use."""
    done = run(KITH, *arguments, home=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"kith: {HINT}\n")


def test_a_bare_command_registers_and_syncs(tmp_path: Path) -> None:
    """Registration, sync, numbers and logout need no package of the extra."""
    number = "+4915112345678"
    registered = run(KITH, "register", number, home=tmp_path, stdin="123456\n")
    synced = run(KITH, "sync", "-", home=tmp_path, stdin=f"name,phone\nAnn,{number[:-1]}9\n")
    shown = run(KITH, "numbers", "-", home=tmp_path, stdin=f"name,phone\nAnn,{number}\n")
    left = run(KITH, "logout", home=tmp_path)

    assert (registered.returncode, registered.stdout[:22]) == (0, f"You are {number}")
    assert (synced.returncode, synced.stderr) == (0, "")
    assert "1 contact, 1 number, 0 unreadable, 0 here" in synced.stdout
    assert number in shown.stdout
    assert (left.returncode, left.stdout) == (0, "Signed out.\n")


def test_keys_are_not_lost_by_a_bare_installation(tmp_path: Path) -> None:
    """Where this machine has keys that it cannot open, a registration asks before it goes on."""
    run(KITH, "register", "+4915112345678", home=tmp_path, stdin="123456\n")
    store = (
        "from kith.storage import CredentialsFile, default_directory\n"
        "from kith.commands.message_store import store_path\n"
        "file = CredentialsFile(default_directory() / 'credentials.json')\n"
        "path = store_path(file.load())\n"
        "path.parent.mkdir(parents=True, exist_ok=True); path.touch()"
    )
    assert run(store, home=tmp_path).returncode == 0

    again = run(KITH, "register", "+4915112345678", home=tmp_path, stdin="123456\nn\n")

    assert again.returncode == 130
    assert HINT in again.stderr
    assert "Go on without the keys of this device?" in again.stderr


def test_the_help_lists_all_commands(tmp_path: Path) -> None:
    """Commands that are not there are listed with what to do."""
    done = run(KITH, "--help", home=tmp_path)

    assert done.returncode == 0
    assert "  sync  " in done.stdout
    assert "  send          Messages need more packages" in done.stdout


@pytest.mark.slow
def test_the_wheel_is_typed_and_has_the_extra(tmp_path: Path) -> None:
    """The wheel carries py.typed, and asks for the packages of messages with the extra only."""
    source = tmp_path / "source"
    source.mkdir()
    for path in ROOT.iterdir():
        if path.is_file() and path.suffix in (".toml", ".md", ".cfg", "", ".txt"):
            shutil.copy(path, source)
    shutil.copytree(ROOT / "kith", source / "kith", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", tmp_path, source], check=True, capture_output=True)

    [wheel] = tmp_path.glob("kith-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        required = Parser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist") or []

    assert "kith/py.typed" in names
    assert {one for one in required if "extra ==" in one} == {
        f'{name}; extra == "messages"' for name in EXTRA
    }
