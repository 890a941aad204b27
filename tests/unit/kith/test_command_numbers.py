"""`kith numbers` shows how an address book is understood, and asks nobody."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kith.storage import Credentials
from tests.databases import ROOT
from tests.unit.kith.canned import Script
from tests.unit.kith.conftest import Run

BOOK = "Name,Phone\nAnn,0151 12345678 (neu)\nBen,555\nC\x1bd,4915112345679\n"


def test_numbers_and_faults_are_shown(run: Run, script: Script, tmp_path: Path) -> None:
    """Numbers in E.164 on stdout, what was not read with line, name and reason on stderr."""
    path = tmp_path / "book.csv"
    path.write_text(BOOK)

    result = run("numbers", str(path), "--region", "de")

    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["NUMBER", "NAME"],
        ["+4915112345678", "Ann"],
        ["+4915112345679", "C\ufffdd"],
        ["+494915112345679", "C\ufffdd"],
    ]
    assert result.stderr.splitlines() == [
        f"{path}:3: Ben: '555': without area code (DE was assumed)",
        "3 contacts, 3 numbers, 1 unreadable",
    ]
    assert script.requests == []


def test_as_json_from_stdin(run: Run) -> None:
    """The same as one document, and nothing else."""
    result = run("numbers", "-", "--region", "DE", "--json", stdin=BOOK)

    document = json.loads(result.stdout)
    assert document["contacts"] == 3
    assert document["numbers"][0] == {
        "phone_number": "+4915112345678",
        "name": "Ann",
        "written": "0151 12345678 (neu)",
        "line": 2,
    }
    assert document["unreadable"] == [
        {"line": 3, "name": "Ben", "reason": "'555': without area code (DE was assumed)"}
    ]
    assert result.stderr == ""


def test_the_own_number_tells_country_and_area(run: Run, signed_in: Credentials) -> None:
    """Where somebody is signed in, as `kith sync` would read it; one's own number is shown too."""
    assert "+4915112345678" in run("numbers", "-", stdin="Phone\n0151 12345678\n").stdout
    assert (
        "+447911123456"
        in run("numbers", "-", "--region", "uk", stdin="Phone\n07911 123456\n").stdout
    )


def test_broken_credentials_do_not_matter(run: Run, credentials_path: Path) -> None:
    """The command needs none."""
    credentials_path.parent.mkdir(parents=True)
    credentials_path.write_text("{")

    assert run("numbers", "-", stdin="Phone\n+4915112345678\n").exit_code == 0


@pytest.mark.parametrize(
    ("content", "exit_code", "words"),
    [
        (BOOK, 9, "1 line or number could not be read"),
        ("Name,Mail\nAnn,x\nBen,y\n", 9, "no phone number was found in 2 contacts"),
        ("Name,Phone\nAnn,+4915112345678\n", 0, "1 contact, 1 number, 0 unreadable"),
    ],
)
def test_strict(content: str, exit_code: int, words: str, run: Run) -> None:
    """--strict makes what was not read count."""
    result = run("numbers", "-", "--region", "DE", "--strict", stdin=content)

    assert result.exit_code == exit_code
    assert words in result.stderr


def test_wrong_use(run: Run, tmp_path: Path) -> None:
    """A country that is none is 2, a file that is not there 7."""
    assert run("numbers", "-", "--region", "Germany").exit_code == 2
    assert run("numbers", str(tmp_path / "none.csv")).exit_code == 7


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_whoever_reads_may_stop(words: tuple[str, ...], tmp_path: Path) -> None:
    """A closed pipe, as behind "| head", ends the command without a word."""
    path = tmp_path / "book.csv"
    path.write_text("Phone\n" + "".join(f"+1415555{n:04}\n" for n in range(5000)))
    process = subprocess.Popen(
        [sys.executable, "-m", "kith", "numbers", str(path), *words],
        cwd=ROOT,
        env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(100)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()

    assert process.wait(60) == 141
    assert errors == b""
