"""Own the reading of JSON lines: one object a line, {"name": …, "phone": …} or {"phones": [...]}.

Refuse to guess: other members are ignored, and a line that is no such object is a fault.
"""

import json
from collections.abc import Iterable, Iterator

from kith.contacts.found import Contact, Fault, WrittenNumber, one_line, written_numbers
from kith.contacts.lines import Line, decode

MOST_NUMBERS = 1000  # of one line


def read_records(lines: Iterable[Line]) -> Iterator[Contact | Fault]:
    """Yield a contact for each line that is not blank, or the fault that it is."""
    for line in lines:
        if line.content.strip():
            yield _contact(line)


def _contact(line: Line) -> Contact | Fault:
    if line.cut:
        return Fault(line.number, "the line is too long")
    try:
        record = json.loads(decode(line.content))
    except (ValueError, RecursionError):
        return Fault(line.number, "not JSON; each line is one object")
    if not isinstance(record, dict):
        return Fault(line.number, "not a JSON object with a phone or phones")
    numbers = _numbers(record, line.number)
    if numbers is None:
        return Fault(line.number, "phone must be a text, phones a list of texts")
    name = record.get("name")
    return Contact(_text(name) if isinstance(name, str) else "", tuple(numbers), line.number)


def _numbers(record: dict[str, object], line: int) -> list[WrittenNumber] | None:
    """Return what "phone" and "phones" hold, None when that is no text; neither is no number."""
    phone, phones = record.get("phone"), record.get("phones")
    values = [] if phones is None else phones
    if not isinstance(values, list) or len(values) > MOST_NUMBERS:
        return None
    values = [value for value in (phone, *values) if value is not None]
    if not all(isinstance(value, str) for value in values):
        return None
    return [number for value in values for number in written_numbers(_text(value), line)]


def _text(value: str) -> str:
    """Return a text on one line, without the half characters that JSON can write."""
    return one_line(value.encode("utf-8", errors="replace").decode("utf-8"))
