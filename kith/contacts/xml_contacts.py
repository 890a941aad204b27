"""Address books in XML: xCard (RFC 6351) and the phone book of a FRITZ!Box."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from xml.parsers import expat

from kith.contacts.contact import Contact, Fault, WrittenNumber, one_line, written_numbers

MAX_TEXT_CHARACTERS = 64 * 1024
MAX_NAME_CHARACTERS = 1024  # characters of one part of a name, which may have many elements
MAX_NUMBERS = 1000  # of one card

NO_CONTACT_LIST = (
    "this is XML of another kind; xCard and the phone book of a FRITZ!Box are read:"
    " export the contacts as vCard or CSV"
)


class _CardKind(NamedTuple):
    """The element names of one kind of card."""

    names: tuple[str, ...]
    numbers: frozenset[str]


_KINDS = {
    "vcard": _CardKind(
        ("fn/text", "n", "nickname/text", "org/text", "email/text"),
        frozenset({"tel/uri", "tel/text", "tel/unknown", "tel"}),
    ),
    "contact": _CardKind(("realName",), frozenset({"number"})),
}
_PARTS_OF_N = ("prefix", "given", "additional", "surname", "suffix")


class _EntitiesDeclared(Exception):
    """The document declares entities, which may expand without end."""


def read_xml(blocks: Iterable[bytes], encoding: str | None = None) -> Iterator[Contact | Fault]:
    """Yield the cards of an XML document as it is read; a Fault where it is broken, or when it is
    of another kind.

    encoding: replaces the encoding that the document declares.
    """
    reader = _XmlReader()
    parser = expat.ParserCreate(encoding, namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.EntityDeclHandler = _refuse
    reader.line = lambda: parser.CurrentLineNumber
    try:
        for block in blocks:
            parser.Parse(block, False)
            yield from reader.finished()
        parser.Parse(b"", True)
        yield from reader.finished()
    except expat.ExpatError as error:
        yield from reader.finished()
        yield Fault(error.lineno, "the XML is broken here; what follows is not read")
        return
    except _EntitiesDeclared:
        yield Fault(parser.CurrentLineNumber, "the XML declares entities, and is not read")
        return
    if not reader.found:
        yield Fault(1, NO_CONTACT_LIST)


def _refuse(*_: object) -> None:
    raise _EntitiesDeclared


class _XmlReader:
    """Follows the elements and collects the cards."""

    line: Callable[[], int]

    def __init__(self) -> None:
        self.found = False
        self._done = list[Contact]()
        self._path = list[str]()
        self._kind: _CardKind | None = None
        self._depth = 0
        self._begin = 0
        self._text = ""
        self._text_line = 0
        self._names = dict[str, str]()
        self._numbers = list[WrittenNumber]()

    def finished(self) -> Iterator[Contact]:
        """Yield the cards that have ended."""
        done, self._done = self._done, []
        yield from done

    def start(self, tag: str, _: dict[str, str]) -> None:
        name = tag.rpartition("}")[2]
        self._path.append(name)
        if self._kind is None and name in _KINDS:
            self._kind, self._depth, self._begin = _KINDS[name], len(self._path), self.line()
            self._names, self._numbers, self.found = {}, [], True
        self._text, self._text_line = "", self.line()

    def text(self, data: str) -> None:
        if self._kind is not None and len(self._text) < MAX_TEXT_CHARACTERS:
            self._text += data

    def end(self, _: str) -> None:
        if self._kind is not None:
            if len(self._path) == self._depth:
                self._end_card(self._kind)
            else:
                self._end_element(self._kind)
        self._path.pop()
        self._text = ""

    def _end_element(self, kind: _CardKind) -> None:
        text = one_line(self._text)
        if not text:
            return
        last, two = self._path[-1], "/".join(self._path[-2:])
        if last in kind.numbers or two in kind.numbers:
            room = MAX_NUMBERS - len(self._numbers)
            self._numbers += written_numbers(self._text, self._text_line)[:room]
        elif self._path[-2] == "n" and last in _PARTS_OF_N:
            if len(known := self._names.get(last, "")) < MAX_NAME_CHARACTERS:
                self._names[last] = f"{known} {text[:MAX_NAME_CHARACTERS]}".strip()
        elif last in kind.names or two in kind.names:
            self._names.setdefault(last if last in kind.names else two, text)

    def _end_card(self, kind: _CardKind) -> None:
        parts = " ".join(filter(None, map(self._names.get, _PARTS_OF_N)))
        if parts:
            self._names["n"] = parts
        name = next(filter(None, map(self._names.get, kind.names)), "")
        self._done.append(Contact(name, tuple(self._numbers), self._begin))
        self._kind = None
