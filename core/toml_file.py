"""TOML files that operators write: read, validated by a model, every error reported with its line."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from core.settings import SettingsError

#: Names of tables and keys, and places in arrays, from the top of the document.
Keys = tuple[str | int, ...]

#: What pydantic says in words for programmers.
_REASONS = {
    "extra_forbidden": "there is no such key",
    "missing": "is missing",
    "string_pattern_mismatch": "is not written as the documentation of this file says",
}


class TomlTable(BaseModel):
    """A table of such a file: unknown keys are refused, and values are not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def load_toml(
    path: Path, model: type[Model], context: object = None, *, setting: str | None = None
) -> Model:
    """Read a file as a model.

    context: what the model's validators are given. setting: the one that names the file, if one does.

    Raises SettingsError, whose message has a line `file:line: key: reason` for each fault.
    """
    text = _read(path, setting)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refusal([_syntax_fault(path, text, str(error))], setting) from None
    try:
        return model.model_validate(document, context=context)
    except ValidationError as error:
        lines = _lines(text)
        faults = []
        for fault in error.errors(include_url=False, include_input=False):
            keys = _existing(document, fault["loc"])
            named = (*keys, fault["loc"][-1]) if fault["type"] == "missing" else keys
            reason = _REASONS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
            faults.append((lines[keys], f"{_dotted(named)}: {reason}" if named else reason))
        told = [f"{path}:{line}: {reason}" for line, reason in sorted(faults)]
        raise _refusal(told, setting) from None


def _read(path: Path, setting: str | None) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _refusal([f"{path}: cannot be read: {error.strerror}"], setting) from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refusal([f"{path}:{line}: is not UTF-8"], setting) from None


def _refusal(faults: list[str], setting: str | None) -> SettingsError:
    file = f"the file of {setting}" if setting else "this file"
    return SettingsError(
        f"Kith cannot start with {file}:\n" + "\n".join(f"  - {x}" for x in faults)
    )


def _syntax_fault(path: Path, text: str, message: str) -> str:
    """Return a parser error with its line in front."""
    reason, _, place = message.partition(" (at ")
    line = re.match(r"line (\d+)", place)
    at = line.group(1) if line else text.count("\n") + 1
    return f"{path}:{at}: {reason}"


def _existing(document: Any, location: Keys) -> Keys:
    """Return the part of an error's location that exists in the document.

    Missing keys are left out, and what pydantic adds: names of union members, `[key]`.
    """
    keys: list[str | int] = []
    value = document
    for key in location:
        if key in (value if isinstance(value, dict) else _places(value)):
            value = value[key]
            keys.append(key)
    return tuple(keys)


def _places(value: Any) -> range:
    return range(len(value)) if isinstance(value, list) else range(0)


def _dotted(keys: Keys) -> str:
    """Return keys as a person writes them: `rules[2].limit`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")


def _lines(text: str) -> dict[Keys, int]:
    """Return the line on which each key of a valid document begins.

    tomllib does the lexing: a statement is the fewest lines that parse alone.
    """
    lines: dict[Keys, int] = {(): 1}
    elements: Counter[Keys] = Counter()
    table: Keys = ()
    statement, begins = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        statement += line + "\n"
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = _header(parsed, elements)
            found = [table[:length] for length in range(1, len(table) + 1)]
        else:
            found = [table + keys for keys in _inside(parsed)]
        for keys in found:
            lines.setdefault(keys, begins)
        statement, begins = "", number + 1
    return lines


def _header(parsed: Any, elements: Counter[Keys]) -> Keys:
    """Name the table that a header opens, counting the elements of arrays of tables."""
    keys: Keys = ()
    while parsed:
        ((key, parsed),) = parsed.items()
        keys = (*keys, key)
        if isinstance(parsed, list):
            elements[keys] += 1
            (parsed,) = parsed
        if elements[keys]:
            keys = (*keys, elements[keys] - 1)
    return keys


def _inside(value: Any) -> Iterator[Keys]:
    """Name every key inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (key,)
        if isinstance(inner, dict | list):
            yield from ((key, *rest) for rest in _inside(inner))
