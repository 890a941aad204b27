"""Operators' files: what is wrong is told with file, line, key and reason, all of it at once."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from core.settings import SettingsError
from core.toml_file import TomlTable, load_toml


def _known(name: str, info: ValidationInfo) -> str:
    if info.context and name not in info.context:
        raise ValueError(f"there is no {name}")
    return name


class Velocity(TomlTable):
    """A rule of one kind."""

    kind: Literal["velocity"]
    limit: int = Field(ge=0)


class Budget(TomlTable):
    """A rule of another kind."""

    kind: Literal["budget"]
    amount: float = Field(ge=0)
    countries: dict[str, float] = {}


class Document(TomlTable):
    """What the file says."""

    title: str = ""
    names: dict[Annotated[str, AfterValidator(_known)], int] = {}
    listed: list[int] = []
    rules: list[Annotated[Velocity | Budget, Field(discriminator="kind")]] = []

    @field_validator("title")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value) > 5:
            raise ValueError("is too long")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Document":
        if self.title == "none" and self.rules:
            raise ValueError("rules without a title")
        return self


class File:
    """A file to write and to load."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, text: str, context: object = None) -> Document:
        """Write and load."""
        self.path.write_text(text)
        return load_toml(self.path, Document, context)

    def faults(self, text: str, context: object = None) -> list[str]:
        """Give what is wrong, without the path in front."""
        with pytest.raises(SettingsError) as refused:
            self.load(text, context)
        headline, *lines = str(refused.value).splitlines()
        assert headline == "Kith cannot start with this file:"
        return [line.removeprefix(f"  - {self.path}:") for line in lines]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """A file."""
    return File(tmp_path / "file.toml")


def test_a_file_without_faults(file: File) -> None:
    """It becomes the model, with inline tables, dotted keys and arrays of tables."""
    text = 'title = "a"\nnames.x = 1\n[[rules]]\nkind = "velocity"\nlimit = 3\n'
    loaded = file.load(text)
    assert (loaded.title, loaded.names, loaded.rules[0]) == (
        "a",
        {"x": 1},
        Velocity(kind="velocity", limit=3),
    )


FAULTY = '''# A comment [with brackets]
title = """
too long"""

[names]
"a.b" = 1
bad = "1"

[[rules]]  # the first
kind = "velocity"
limit = 5

[[rules]]
kind = "velocity"
limit = -1
limits = 2

[[rules]]
kind = "budget"
[rules.countries]
DE = 1.0
FR = "much"

[[rules]]
kind = "velocity"

[unknown.table]
x = 1
'''


def test_every_fault_has_its_line(file: File) -> None:
    """Faults in tables, arrays of tables, tables inside them, and keys that are missing or unknown."""
    assert file.faults(FAULTY) == [
        "2: title: is too long",
        "7: names.bad: Input should be a valid integer",
        "15: rules[1].limit: Input should be greater than or equal to 0",
        "16: rules[1].limits: there is no such key",
        "18: rules[2].amount: is missing",
        "22: rules[2].countries.FR: Input should be a valid number",
        "24: rules[3].limit: is missing",
        "27: unknown: there is no such key",
    ]


def test_faults_in_values_over_several_lines(file: File) -> None:
    """What stands inside a value of several lines is told with the line on which the value begins."""
    text = 'title = "a"\nlisted = [\n  1,\n  true, # [not a table]\n]\nrules = [{kind="budget", amount=-1}]\n'
    assert file.faults(text) == [
        "2: listed[1]: Input should be a valid integer",
        "6: rules[0].amount: Input should be greater than or equal to 0",
    ]


def test_validators_have_their_context(file: File) -> None:
    """A key can be held against what only the caller knows."""
    assert file.load("[names]\na = 1\n", {"a"}).names == {"a": 1}
    assert file.faults("[names]\na = 1\n\nb = 2\n", {"a"}) == ["4: names.b: there is no b"]


def test_a_fault_of_the_whole(file: File) -> None:
    """What no single key is to blame for is told at the first line."""
    text = '\ntitle = "none"\n[[rules]]\nkind = "velocity"\nlimit = 1\n'
    assert file.faults(text) == ["1: rules without a title"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("title = \n", "1: Invalid value"),
        ('title = "a"\n[names\n', "2: Expected ']' at the end of a table declaration"),
        ('title = "a"\ntitle = "b"\n', "2: Cannot overwrite a value"),
        ('title = "a"\nlisted = [1,\n2', "3: Unclosed array"),
    ],
)
def test_what_is_not_toml(file: File, text: str, fault: str) -> None:
    """The parser's own reason is told, with the line in front."""
    assert file.faults(text) == [fault]


def test_windows_line_ends(file: File) -> None:
    """A file with CRLF has the same lines."""
    file.path.write_bytes(FAULTY.replace("\n", "\r\n").encode())
    with pytest.raises(SettingsError, match=r"file\.toml:15: rules\[1\]\.limit: "):
        load_toml(file.path, Document)


def test_a_file_that_cannot_be_read(file: File) -> None:
    """A missing file, a directory and another encoding are told apart."""
    with pytest.raises(SettingsError, match=r"file\.toml: cannot be read: No such file"):
        load_toml(file.path, Document)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_toml(file.path.parent, Document)
    file.path.write_bytes(b'title = "a"\n# \xff\n')
    with pytest.raises(SettingsError, match=r"file\.toml:2: is not UTF-8"):
        load_toml(file.path, Document)
