"""The wheel is the client, typed, and its version is the one of the service."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from app import VERSION
from tests.databases import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy: building leaves files behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "kith", folder / "kith")
    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    subprocess.run(
        [sys.executable, "-c", build], cwd=folder, capture_output=True, check=True, text=True
    )
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_it_holds_the_client(wheel: zipfile.ZipFile) -> None:
    """All of it, its license, and nothing of the service."""
    names = set(wheel.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "kith").rglob("*.py")}
    assert modules <= names
    assert "kith/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {"kith", f"kith-{VERSION}.dist-info"}
    assert any(name.endswith("/LICENSE") for name in names)


def test_its_metadata(wheel: zipfile.ZipFile) -> None:
    """Version, Pythons and license are those of the project."""
    metadata = Parser().parsestr(wheel.read(f"kith-{VERSION}.dist-info/METADATA").decode())
    assert metadata["Version"] == VERSION == PROJECT["version"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_packages_of_messages_are_an_extra(wheel: zipfile.ZipFile) -> None:
    """A bare installation does not ask for them."""
    metadata = Parser().parsestr(wheel.read(f"kith-{VERSION}.dist-info/METADATA").decode())
    extra = {one for one in metadata.get_all("Requires-Dist") or [] if "extra ==" in one}
    assert "cryptography" in PROJECT["optional-dependencies"]["messages"]
    assert extra == {
        f'{name}; extra == "messages"' for name in PROJECT["optional-dependencies"]["messages"]
    }


def test_every_package_is_typed() -> None:
    """Type checkers read the annotations of each."""
    packages = set(
        re.findall(r"\b[a-z]+\b", _setting(r"root_packages = \[(.*?)\]")),
    )
    assert "kith" in packages
    assert [name for name in packages if not (ROOT / name / "py.typed").is_file()] == []


def test_the_changelog_has_the_version() -> None:
    """The newest release there is the version, with its day, below an empty or growing Unreleased."""
    headings = re.findall(r"^## \[(.+?)\](.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == VERSION
    assert re.fullmatch(r" - \d{4}-\d\d-\d\d", headings[1][1])


def test_the_version_stands_in_one_place() -> None:
    """Nobody has to change it twice."""
    found = [
        str(path)
        for path in [
            *ROOT.glob("*.py"),
            *(ROOT / "core").rglob("*.py"),
            *Path(ROOT / "kith").rglob("*.py"),
        ]
        if f'"{VERSION}"' in path.read_text()
    ]
    assert found == []


def _setting(pattern: str) -> str:
    match = re.search(pattern, (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    assert match
    return match[1]
