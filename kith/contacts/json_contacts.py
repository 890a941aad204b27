"""JSON documents that are or contain a list of contacts: arrays of objects or of jCards (RFC 7095),
Telegram's result.json, and exports of WhatsApp tools.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from kith.contacts import vocabulary
from kith.contacts.contact import (
    Contact,
    Fault,
    WrittenNumber,
    looks_like_number,
    one_line,
    written_numbers,
)
from kith.contacts.json_records import read_record
from kith.contacts.json_stream import JsonInvalid, JsonStream

MAX_DEPTH = 4

NO_CONTACT_LIST = (
    "this is JSON without a list of contacts; export the contacts as vCard or CSV,"
    " from Telegram with the contacts list"
)

_WHATSAPP_ID = re.compile(r"\d{7,15}(?:[:.]\d+)?@(?:s\.whatsapp\.net|c\.us)")
#: Members with lists of contacts; others, such as Telegram's chats, are skipped and not kept.
_LISTS = vocabulary.word_set(
    "contact contacts list people connections results data items entries records rows persons friends"
    " members participants users addressbook phonebook vcards cards wa_contacts value values response"
    " contacts_list contact_list kontakte contactos address_book phone_book book"
)


def is_document(start: str) -> bool:
    """Return whether a text that begins with a brace is one document, and not one object a line."""
    lines = [line for line in start.splitlines()[:50] if line.strip()]
    whole = [_object(line) for line in lines[:-1] or lines]
    if not any(one is not None for one in whole):
        return len(lines) > 1 or not start.endswith("\n")
    # Several objects are lines; a single one may enclose a list.
    first = whole[0]
    return first is not None and len(lines) == 1 and _holds_list(first)


def read_json(blocks: Iterable[bytes]) -> Iterator[Contact | Fault]:
    """Yield the contacts of a document, and a Fault where it is broken or when it has none."""
    reader = _JsonReader(JsonStream(blocks))
    try:
        yield from reader.document()
    except JsonInvalid:
        yield Fault(reader.line, "the JSON is broken here; what follows is not read")
        return
    if not reader.found:
        yield Fault(1, NO_CONTACT_LIST)
    elif reader.strange:
        several = "entry is no contact" if reader.strange == 1 else "entries are no contacts"
        yield Fault(reader.first_strange, f"{reader.strange} {several}")


def _object(line: str) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _holds_list(record: dict[str, object]) -> bool:
    return any(
        _WHATSAPP_ID.fullmatch(key)
        or (vocabulary.normalize_name(key) in _LISTS and isinstance(value, list | dict))
        for key, value in record.items()
    )


class _JsonReader:
    def __init__(self, values: JsonStream) -> None:
        self._values = values
        self.found = 0
        self.strange = 0
        self.first_strange = 0

    @property
    def line(self) -> int:
        """The current line."""
        return self._values.line

    def document(self) -> Iterator[Contact | Fault]:
        """Yield the contacts of the whole text: one value or several."""
        while mark := self._values.peek():
            yield from self._array() if mark == "[" else self._object(MAX_DEPTH)

    def _array(self) -> Iterator[Contact | Fault]:
        is_one_card = False
        for place, _ in enumerate(self._values.items()):
            line = self._values.line
            value = self._values.value()
            if place == 0 and value in ("vcard", "vcardstream"):
                is_one_card = value == "vcard"
                self.found += 1
            elif is_one_card:
                if place == 1 and isinstance(value, list):
                    yield _jcard_contact(value, line)
            else:
                yield from self._element(value, line)

    def _object(self, depth: int) -> Iterator[Contact | Fault]:
        """Read an object that may contain lists of contacts or be a contact itself."""
        record, line = dict[str, object](), self._values.line
        for key in self._values.members():
            word, mark = vocabulary.normalize_name(key), self._values.peek()
            if word in _LISTS and mark == "[":
                yield from self._array()
            elif word in _LISTS and mark == "{" and depth:
                yield from self._object(depth - 1)
            elif _WHATSAPP_ID.fullmatch(key):
                yield from self._keyed_contact(key)
            elif mark in "[{" and not vocabulary.is_phone(word):
                self._values.skip()
            else:
                record[key] = self._values.value()
        contact = read_record(record, line)
        if isinstance(contact, Contact) and contact.numbers:
            self.found += 1
            yield contact

    def _keyed_contact(self, key: str) -> Iterator[Contact | Fault]:
        """Read a member whose key is the number, as WhatsApp tools write it."""
        line, value = self._values.line, self._values.value()
        self.found += 1
        contact = read_record(value if isinstance(value, dict) else {}, line)
        yield Contact(contact.name, (WrittenNumber(key, line),), line)

    def _element(self, value: object, line: int) -> Iterator[Contact | Fault]:
        if _is_jcard(value) and isinstance(value, list):
            self.found += 1
            yield _jcard_contact(value[1], line)
        elif isinstance(value, dict):
            self.found += 1
            yield read_record(value, line)
        elif isinstance(value, str) and looks_like_number(value):
            self.found += 1
            yield Contact("", (WrittenNumber(value.strip(), line),), line)
        else:
            self.strange += 1
            self.first_strange = self.first_strange or line


MAX_NUMBERS = 1000  # of one card

_NAME_ORDER = ("fn", "n", "nickname", "org", "email")


def _is_jcard(value: object) -> bool:
    """Return whether a JSON value is a jCard."""
    return (
        isinstance(value, list)
        and len(value) > 1
        and value[0] == "vcard"
        and isinstance(value[1], list)
    )


def _jcard_contact(properties: Sequence[object], line: int) -> Contact:
    """Return the contact of a jCard's properties; invalid properties are skipped."""
    names = dict[str, str]()
    numbers = list[WrittenNumber]()
    for one in properties:
        if not isinstance(one, list) or len(one) < 4 or not isinstance(one[0], str):
            continue
        name = one[0].lower()
        texts = [text for value in one[3:] for text in _texts(value, ordered=name == "n")]
        if name == "tel":
            for text in texts:
                numbers += written_numbers(text, line)
        elif name in _NAME_ORDER:
            names.setdefault(name, one_line(" ".join(texts)))
    name = next(filter(None, map(names.get, _NAME_ORDER)), "")
    return Contact(name, tuple(numbers[:MAX_NUMBERS]), line)


def _texts(value: object, *, ordered: bool) -> list[str]:
    """Return the texts of a value; those of a structured name in spoken order."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return []
    parts = [" ".join(_texts(part, ordered=False)) for part in value]
    if ordered and len(parts) == 5:
        family, given, additional, prefix, suffix = parts
        parts = [prefix, given, additional, family, suffix]
    return [part for part in parts if part]
