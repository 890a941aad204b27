"""vCard files (2.1, 3.0, 4.0).

Cards without an end or a beginning, nested, joined without a line end or mixed with garbage yield the
numbers they contain, and properties with names of people's own are read where the name means a phone.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from kith.contacts import repairs, vocabulary
from kith.contacts.contact import (
    Contact,
    Fault,
    WrittenNumber,
    looks_like_number,
    numbers_in_name,
    one_line,
    written_numbers,
)
from kith.contacts.lines import Line
from kith.contacts.vcard_lines import (
    ADDRESSES,
    LogicalLine,
    Property,
    fields,
    is_phone,
    is_unknown_property,
    logical_lines,
    parse_property,
    property_name,
    unescape,
)

MAX_NESTING = 8
MAX_NUMBERS = 1000  # of one card; more become further contacts with the same name

_CARD_MARK = re.compile(rb"((?:BEGIN|END)\s*:\s*VCARD)", re.IGNORECASE)
#: The number in a messenger address or a link.
_NUMBER_OF_ADDRESS = re.compile(
    r"(?:tel|sms|whatsapp|signal|sgnl|viber|x-apple|callto|https?://wa\.me/|https?://signal\.me/#p/)"
    r"[:/]{0,3}(?:(?:send|add|chat)/?\?(?:phone|number)=)?(\+?[\d\s().-]{7,25})(?:[;?@&].*)?\Z"
    r"|(\+[\d\s().-]{7,25})\Z",
    re.IGNORECASE,
)
_NAME_ORDER = ("FN", "N", "NICKNAME", "ORG", "EMAIL")


def read_vcards(lines: Iterable[Line]) -> Iterator[Contact | Fault]:
    """Yield the contacts of a vCard file in order, and a Fault for each run of invalid lines."""
    reader = _CardReader()
    for logical in logical_lines(lines):
        yield from reader.read_line(logical)
    yield from reader.finish()


@dataclass
class _OpenCard:
    line: int
    implicit: bool = False
    names: dict[str, str] = field(default_factory=dict)
    numbers: list[WrittenNumber] = field(default_factory=list)
    fault: Fault | None = None  # yielded if the card has no number

    def contact(self) -> Contact:
        name = next((self.names[kind] for kind in _NAME_ORDER if self.names.get(kind)), "")
        name = name or " ".join(filter(None, map(self.names.get, ("GIVEN", "FAMILY"))))
        numbers = self.numbers or numbers_in_name(name, self.line)
        return Contact(name, tuple(numbers), self.line)


class _CardReader:
    def __init__(self) -> None:
        self._open: list[_OpenCard] = []
        self._line = 0
        self._in_binary = False
        self._in_garbage = False
        self._agent_opens = False

    def read_line(self, logical: LogicalLine) -> Iterator[Contact | Fault]:
        self._line = logical.number
        for content in _split_joined_cards(logical.content):
            if _CARD_MARK.fullmatch(content) and content[:1] in b"Bb":
                yield from self._begin()
            elif _CARD_MARK.fullmatch(content):
                yield from self._end()
            else:
                yield from self._property(content, logical.cut)

    def finish(self) -> Iterator[Contact | Fault]:
        if any(not card.implicit for card in self._open):
            yield Fault(self._line, "the file ends before its last card does")
        yield from self._close_all()

    def _begin(self) -> Iterator[Contact | Fault]:
        nested = self._agent_opens and len(self._open) < MAX_NESTING
        if self._open and not nested:
            if any(not card.implicit for card in self._open):
                yield Fault(self._line, "a card begins before the one above has ended")
            yield from self._close_all()
        self._open.append(_OpenCard(self._line))
        self._reset_flags()

    def _end(self) -> Iterator[Contact | Fault]:
        if self._open:
            yield from _contact_of(self._open.pop())
        self._reset_flags()

    def _property(self, content: bytes, cut: bool) -> Iterator[Contact | Fault]:
        found = parse_property(content)
        if found is None:
            # The lines of a photo have no colon either. A run of garbage is one fault.
            if not self._in_binary and not self._in_garbage:
                yield Fault(self._line, "not a vCard line: it has no colon")
                self._in_garbage = True
            return
        self._reset_flags()
        self._in_binary = found.base64
        if is_phone(found.name):
            yield from self._number(found, cut)
        elif found.name in ADDRESSES:
            self._address(found)
        elif found.name == "AGENT":
            yield from self._agent(found)
        elif found.name in _NAME_ORDER:
            self._card().names.setdefault(found.name, _name(found))
        elif is_unknown_property(found.name):
            self._unknown_property(found)

    def _number(self, found: Property, cut: bool) -> Iterator[Contact | Fault]:
        if cut:
            yield Fault(self._line, "this number's line is too long to be one")
            return
        card = self._card()
        card.numbers += written_numbers(unescape(found.text()), self._line, dialled=True)
        if len(card.numbers) >= MAX_NUMBERS:
            yield card.contact()
            card.numbers.clear()

    def _address(self, found: Property) -> None:
        text = repairs.normalize_text(unquote(unescape(found.text())))
        number = _NUMBER_OF_ADDRESS.match(text)
        card = self._card()
        if number is None:
            if found.name.startswith("X-") and looks_like_number(text):
                card.numbers.append(WrittenNumber(text, self._line, found.name))
        elif len(card.numbers) < MAX_NUMBERS:
            digits = (number[1] or number[2]).strip()
            if text.lower().startswith("http") and not digits.startswith("+"):
                digits = f"+{digits}"
            card.numbers.append(WrittenNumber(digits, self._line))

    def _unknown_property(self, found: Property) -> None:
        word, text = vocabulary.normalize_name(found.name), unescape(found.text())
        for kind, known in (
            ("FN", vocabulary.FULL),
            ("GIVEN", vocabulary.GIVEN),
            ("FAMILY", vocabulary.FAMILY),
        ):
            if word in known:
                self._card().names.setdefault(kind, one_line(text))
        if self._open and not vocabulary.is_other(word) and looks_like_number(text):
            reason = f"{found.name} looks like a phone number and is not read; a card's are in TEL"
            self._open[-1].fault = Fault(self._line, reason)

    def _agent(self, found: Property) -> Iterator[Contact | Fault]:
        text = found.text().strip()
        if not text:
            self._agent_opens = True
        elif text[:11].upper() == "BEGIN:VCARD":
            inner = unescape(text).encode("utf-8", errors="replace").split(b"\n")
            yield from read_vcards(Line(self._line, content) for content in inner)

    def _card(self) -> _OpenCard:
        if not self._open:
            self._open.append(_OpenCard(self._line, implicit=True))
        return self._open[-1]

    def _close_all(self) -> Iterator[Contact | Fault]:
        while self._open:
            yield from _contact_of(self._open.pop(0))

    def _reset_flags(self) -> None:
        self._in_binary = self._in_garbage = self._agent_opens = False


def _contact_of(card: _OpenCard) -> Iterator[Contact | Fault]:
    if card.numbers or not card.implicit:
        contact = card.contact()
        if card.fault is not None and not card.numbers:
            yield replace(card.fault, name=contact.name)
        yield contact


def _split_joined_cards(content: bytes) -> list[bytes]:
    """Split what a missing line end has joined, as in END:VCARDBEGIN:VCARD."""
    if not _CARD_MARK.match(content.lstrip()) and not is_phone(property_name(content)):
        return [content]
    return [part for part in (part.strip() for part in _CARD_MARK.split(content)) if part]


def _name(found: Property) -> str:
    text = found.text()
    if found.name == "N":
        family, given, additional, prefix, suffix = (fields(text) + [""] * 5)[:5]
        return one_line(" ".join((prefix, given, additional, family, suffix)))
    if found.name == "ORG":
        return one_line(" ".join(fields(text)))
    return one_line(unescape(text))
