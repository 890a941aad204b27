"""Contacts as JSON objects: one on each line, {"name": …, "phone": …} or {"phones": [...]}, or in a list.

Members are recognized by the vocabulary of table columns; of any other member, text that looks like a
number counts.
"""

import json
from collections.abc import Iterable, Iterator, Mapping

from kith.contacts import vocabulary
from kith.contacts.contact import (
    Contact,
    Fault,
    WrittenNumber,
    looks_like_number,
    numbers_in_name,
    one_line,
    written_numbers,
)
from kith.contacts.lines import Line, decode

MAX_NUMBERS = 1000  # of one record
MAX_DEPTH = 3  # nested objects in which a record's numbers and names are searched

_NUMBERS = frozenset({"number", "numbers", "jid", "wa id", "serialized"})
_VALUES = (
    "value",
    "number",
    "phone",
    "phone_number",
    "phoneNumber",
    "uri",
    "text",
    "canonicalForm",
)
_WHOLE_NAMES = (vocabulary.FULL, vocabulary.ORGANIZATION)
_PARTS = (vocabulary.GIVEN, vocabulary.MIDDLE, vocabulary.FAMILY)
_MIN_INTEGER_DIGITS = 7


class _InvalidPhone(ValueError):
    """A phone member is not text."""


def read_records(lines: Iterable[Line]) -> Iterator[Contact | Fault]:
    """Yield a contact or a fault for each line that is not blank."""
    for line in lines:
        if line.content.strip():
            yield _contact(line)


def read_record(record: Mapping[str, object], line: int) -> Contact | Fault:
    """Return the contact of a JSON object; `line` is where the object ends."""
    name = _name(record, MAX_DEPTH)
    try:
        numbers = _numbers(record, line, MAX_DEPTH) or numbers_in_name(name, line)
    except _InvalidPhone:
        return Fault(line, "phone must be a text, phones a list of texts", name)
    return Contact(name, tuple(numbers), line)


def _contact(line: Line) -> Contact | Fault:
    if line.cut:
        return Fault(line.number, "the line is too long")
    try:
        record = json.loads(decode(line.content))
    except (ValueError, RecursionError):
        return Fault(line.number, "not JSON; each line is one object")
    if not isinstance(record, dict):
        return Fault(line.number, "not a JSON object with a phone or phones")
    return read_record(record, line.number)


def _numbers(record: Mapping[str, object], line: int, depth: int) -> list[WrittenNumber]:
    """Return the numbers of an object's members; raise _InvalidPhone."""
    numbers = list[WrittenNumber]()
    for key, value in record.items():
        word = vocabulary.normalize_name(key)
        named = word in _NUMBERS or vocabulary.is_phone(word)
        if named and not vocabulary.is_about_a_phone(word):
            for text in _texts(value, several=word == "phones"):
                numbers += written_numbers(_clean_text(text), line)
        elif (
            isinstance(value, str)
            and not vocabulary.is_other(word)
            and word not in vocabulary.NAMES
        ):
            text = _clean_text(value)
            if looks_like_number(text):
                numbers += written_numbers(text, line, key)
        elif depth and (
            isinstance(value, dict) or (isinstance(value, list) and not vocabulary.is_other(word))
        ):
            numbers += _within(key, value, line, depth - 1)
    if len(numbers) > MAX_NUMBERS:
        raise _InvalidPhone
    return numbers


def _within(key: str, value: object, line: int, depth: int) -> list[WrittenNumber]:
    """Return the numbers in a member that is not named after phones: an object, or a list of
    objects or of texts that look like numbers.
    """
    numbers = list[WrittenNumber]()
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            numbers += _numbers(one, line, depth)
        elif isinstance(one, str) and looks_like_number(text := _clean_text(one)):
            numbers += written_numbers(text, line, key)
        if len(numbers) > MAX_NUMBERS:
            raise _InvalidPhone
    return numbers


def _texts(value: object, *, several: bool) -> Iterator[str]:
    """Yield the texts of a member that is named after phones; a list may contain objects."""
    if value is None:
        return
    if isinstance(value, list):
        if len(value) > MAX_NUMBERS:
            raise _InvalidPhone
        for one in value:
            yield from _texts(one, several=False) if not isinstance(one, list) else _no_text()
    elif isinstance(value, dict):
        found = [value[key] for key in _VALUES if value.get(key)]
        yield from _texts(found[0], several=False) if found else ()
    elif isinstance(value, str) and not several:
        yield value
    elif isinstance(value, int) and len(str(value)) >= _MIN_INTEGER_DIGITS:
        yield str(value)
    else:
        _no_text()


def _no_text() -> Iterator[str]:
    raise _InvalidPhone


def _name(record: Mapping[str, object], depth: int) -> str:
    by_word = {vocabulary.normalize_name(key): value for key, value in record.items()}
    parts = [_name_in(by_word, known) for known in _PARTS]
    full, organization = (_name_in(by_word, known) for known in _WHOLE_NAMES)
    if name := full or " ".join(filter(None, parts)) or organization:
        return name
    for value in by_word.values() if depth else ():
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, dict) and (name := _name(first, depth - 1)):
            return name
    return ""


def _name_in(by_word: Mapping[str, object], known: frozenset[str]) -> str:
    texts = (value for word, value in by_word.items() if word in known)
    return next((_clean_text(text) for text in texts if isinstance(text, str) and text.strip()), "")


def _clean_text(value: str) -> str:
    """Return a text on one line, without lone surrogates, which JSON can escape."""
    return one_line(value.encode("utf-8", errors="replace").decode("utf-8"))
