"""The installation ends in one line that says what to do, and what is pinned can be installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.databases import ROOT

#: What deploy/install.sh and make call besides a Python.
TOOLS = (
    *(
        "sh",
        "make",
        "awk",
        "basename",
        "cat",
        "cp",
        "df",
        "dirname",
        "grep",
        "mkdir",
        "mktemp",
        "rm",
    ),
    *("tail", "touch"),
)
#: A Python of this version, in whose virtual environment pip fails as it was seen to fail.
PYTHON = """#!/bin/sh
case "$1 $2" in
    "-V ") echo "Python {version}" ;;
    "-c "*ensurepip*) exit {no_venv} ;;
    "-c "*) exit {too_old} ;;
    "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip") cat "$(dirname "$0")/../../said" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A fresh copy of what an installation reads, and a PATH without any Python."""
    for name in ("Makefile", "deploy", "requirements.txt", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


def python(folder: Path, name: str = "python3.13", **traits: object) -> None:
    """Put a Python on the PATH."""
    path = folder / "bin" / name
    path.write_text(PYTHON.format(**{"version": "3.13.1", "no_venv": 0, "too_old": 0} | traits))
    path.chmod(0o755)


def refused(folder: Path, *arguments: str) -> str:
    """Run `make run` and return the line it ends with."""
    done = subprocess.run(
        ["make", "run", *arguments],
        cwd=folder,
        env={"PATH": str(folder / "bin"), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    line, of_make = done.stderr.splitlines()
    assert of_make.startswith("make: ")
    assert len(line) < 300
    return line.removeprefix("Kith cannot be installed: ")


def test_without_python(folder: Path) -> None:
    """An old one is none."""
    python(folder, "python3", too_old=1)
    line = refused(folder)
    assert line.startswith("it needs Python 3.11 or newer: install that")
    assert "uv" in line


def test_with_a_python_that_is_too_old(folder: Path) -> None:
    """One that is asked for is not replaced by another."""
    python(folder)
    python(folder, "python3.9", too_old=1)
    line = refused(folder, "PYTHON=python3.9")
    assert line.startswith("PYTHON=python3.9 is not Python 3.11 or newer")


def test_without_the_venv_module(folder: Path) -> None:
    """Debian keeps it in a package of its own."""
    python(folder, no_venv=1)
    line = refused(folder)
    assert line.startswith("python3.13 has no venv module: install it")
    assert "python3.13-venv" in line


def test_in_a_folder_that_cannot_be_written_to(folder: Path) -> None:
    """Nothing is installed elsewhere."""
    python(folder)
    (folder / ".venv").symlink_to("/proc/kith")
    assert refused(folder) == f"{folder} cannot be written to: copy it to where you may write."


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(': Failed to"
            " establish a new connection: [Errno -3] Temporary failure in name resolution')'\n"
            "ERROR: No matching distribution found for aiohttp==3.14.5",
            "check the network",
        ),
        (
            "  building 'msgspec._core' extension\n"
            "  error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory\n"
            "  ERROR: Failed building wheel for msgspec",
            "install a C compiler",
        ),
        (
            "  src/_core.c:4:10: fatal error: Python.h: No such file or directory\n"
            "  error: command '/usr/bin/gcc' failed with exit code 1",
            "install a C compiler",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"
            "    aiohttp==3.14.5 from https://mirror.example/aiohttp.whl:\n",
            "is not the one that is pinned",
        ),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: something unheard of", "ERROR: something unheard of (details: "),
    ],
)
def test_an_installation_that_fails(folder: Path, said: str, advice: str) -> None:
    """What pip prints becomes one line with what to do."""
    python(folder)
    (folder / "said").write_text(said)
    assert advice in refused(folder)


def test_a_python_is_chosen(folder: Path) -> None:
    """The newest that is there is taken, unless another is asked for."""
    for version in ("3.11", "3.13", "3.9"):
        python(folder, f"python{version}", version=f"{version}.1", too_old=int(version == "3.9"))
    (folder / "said").write_text("ERROR: enough")
    environment = folder / ".venv" / "bin" / "python"
    refused(folder)
    assert "Python 3.13.1" in environment.read_text()
    refused(folder, "PYTHON=python3.11")
    assert "Python 3.11.1" in environment.read_text()


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_requirements_are_pinned_with_hashes(name: str) -> None:
    """Every package has its version and hashes, each direct one is there, and no index is named."""
    text = (ROOT / f"{name}.txt").read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert blocks
    pinned = set()
    for block in blocks:
        package = re.match(r"([a-z0-9-]+)(?:\[[a-z,]+\])?==[\w.]+(?: ; .+)? \\\n", block)
        assert package, block[:80]
        assert "--hash=sha256:" in block
        pinned.add(package[1])
    assert "://" not in text
    # The pip of Python 3.11 looks for a pin with the extra that a package asks for.
    assert name == "requirements" or "coverage[toml]==" in text
    direct = re.findall(r"^[a-z0-9][a-z0-9-]*", (ROOT / f"{name}.in").read_text(), re.MULTILINE)
    assert set(direct) <= pinned


def test_the_pinned_versions_agree() -> None:
    """What both files pin is one version."""
    pins = [
        dict(
            re.findall(
                r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==([\w.]+)", (ROOT / file).read_text(), re.MULTILINE
            )
        )
        for file in ("requirements.txt", "requirements-dev.txt")
    ]
    assert {name for name in pins[0].keys() & pins[1].keys() if pins[0][name] != pins[1][name]} == (
        set()
    )


def test_make_names_what_there_is() -> None:
    """`make help` lists every goal that CONTRIBUTING.md and README.md name."""
    goals = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / page).read_text(), re.MULTILINE))
        assert named
        assert named <= goals, page
