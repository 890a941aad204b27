"""`kith sync` reads an address book, asks in pages, and shows who is here."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

import kith.commands.output
from kith import hash_number
from tests.unit.kith.canned import ACCOUNT, PARAMETERS, Script, ok
from tests.unit.kith.conftest import Run

pytestmark = pytest.mark.usefixtures("signed_in")

VCARDS = Path(__file__).parents[2] / "data" / "vcards"
BOOK = (
    "BEGIN:VCARD\nVERSION:3.0\nFN:Ann \x1b[31m[bold]Lee\nTEL:0152 11111111\nEND:VCARD\n"
    "BEGIN:VCARD\nVERSION:3.0\nFN:Ben\nTEL:no number\nTEL:+49 152 22222222\nEND:VCARD\n"
    "BEGIN:VCARD\nVERSION:3.0\nFN:Me\nTEL:+49 151 12345678\nEND:VCARD\n"
)
ANN = "+4915211111111"


@pytest.fixture
def server(script: Script) -> Script:
    """Return a server on which Ann is, and the asking person."""
    known = {hash_number(ANN, "salt"): "a" * 36, hash_number("+4915112345678", "salt"): "own"}
    script.on("GET /v1/account", ok(ACCOUNT))
    script.on("GET /v1/discovery/parameters", ok(PARAMETERS))
    script.on(
        "POST /v1/discovery/lookups",
        lambda request: ok(
            {
                "matches": {
                    digest: known[digest]
                    for digest in json.loads(request.content)["hashes"]
                    if digest in known
                }
            }
        ),
    )
    return script


def test_sync_shows_who_is_here(run: Run, server: Script, tmp_path: Path) -> None:
    """Matches are a table, what cannot be read is named by file and line, a summary ends it."""
    book = tmp_path / "book.vcf"
    book.write_text(BOOK)

    result = run("sync", str(book))

    assert result.exit_code == 0
    row = result.stdout.splitlines()[1]
    assert "Ann \ufffd[31m[bold]Lee" in row
    assert "0152 11111111" in row
    assert row.rstrip().endswith("a" * 36)
    assert "Me" not in result.stdout
    assert result.stdout.splitlines()[-1] == "3 contacts, 4 numbers, 1 unreadable, 1 here"
    assert result.stderr == f"{book}:9: Ben: 'no number': not a phone number\n"


def test_sync_as_json_from_stdin(run: Run, server: Script) -> None:
    """The same as data, from a pipe."""
    result = run("sync", "-", "--json", stdin=BOOK)

    data = json.loads(result.stdout)
    assert (data["contacts"], data["numbers"], data["here"]) == (3, 4, 1)
    assert data["unreadable"] == [
        {"line": 9, "reason": "'no number': not a phone number", "name": "Ben"}
    ]
    assert data["matches"] == [
        {
            "name": "Ann \x1b[31m[bold]Lee",
            "written": "0152 11111111",
            "phone_number": ANN,
            "account_id": "a" * 36,
            "line": 4,
        }
    ]
    assert result.stderr.startswith("<stdin>:9: ")


def test_sync_takes_a_region(run: Run, server: Script) -> None:
    """--region beats the country of the own number, and a country must be one."""
    table = "Name,Phone\nAnn,0152 11111111\n"

    assert "1 here" in run("sync", "-", stdin=table).stdout
    assert "0 here" in run("sync", "-", "--region", "us", stdin=table).stdout
    assert run("sync", "-", "--region", "Germany", stdin=table).exit_code == 2


def test_sync_of_an_empty_file(run: Run, server: Script) -> None:
    """Nobody in the file is no failure and no lookup."""
    result = run("sync", "-", stdin="")

    assert result.exit_code == 0
    assert result.stdout == "0 contacts, 0 numbers, 0 unreadable, 0 here\n"
    assert server.sent("POST /v1/discovery/lookups") == []


@pytest.mark.parametrize("path", sorted(VCARDS.glob("*.vcf")), ids=lambda path: path.name)
def test_sync_of_real_exports(path: Path, run: Run, server: Script) -> None:
    """Every real export is read to its end with exit code 0."""
    result = run("sync", str(path), "--region", "US", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["contacts"] >= 1


def test_sync_of_no_file(run: Run, server: Script, tmp_path: Path) -> None:
    """A file that is not there, or is a directory, is exit code 7."""
    assert run("sync", str(tmp_path / "none.vcf")).exit_code == 7
    result = run("sync", str(tmp_path))

    assert result.exit_code == 7
    assert "cannot be read" in result.stderr


def test_sync_shows_progress_on_a_terminal(
    run: Run, server: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person at a terminal sees how far the asking is; tables fit the terminal."""
    screen = io.StringIO()
    monkeypatch.setattr(
        kith.commands.output,
        "Console",
        lambda **_: Console(file=screen, force_terminal=True, width=60),
    )

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")

    result = run("sync", "-", stdin=BOOK)
    shown = screen.getvalue().count("Asking")

    assert result.exit_code == 0
    assert "a" * 36 in result.stdout
    assert "3 contacts, " in screen.getvalue()
    assert "Asking" in screen.getvalue()
    assert "2 numbers, " in screen.getvalue()

    run("sync", "-", "--quiet", stdin=BOOK)

    assert screen.getvalue().count("Asking") == shown
