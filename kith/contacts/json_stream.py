"""Reads JSON value by value, so that memory is bounded by the largest value that is kept.

The standard library's decoder reads a value in C but needs all of it; only the arrays and objects around
the values are walked here.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator

MAX_VALUE_CHARACTERS = (
    16 * 1024 * 1024
)  # characters; a card with a photo has a few hundred thousand

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_WITHIN = re.compile(r'["{}\[\]]')
_STRING = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\s]*")


class JsonInvalid(ValueError):
    """The text is not JSON from here on."""


class JsonStream:
    """A cursor in a JSON text."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        """Start before the first value of a text in UTF-8."""
        self._blocks = iter(blocks)
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._text = ""
        self._place = 0
        self.line = 1

    def peek(self) -> str:
        """Return the next character that is not white space, "" at the end."""
        while True:
            self._skip_pattern(_SPACE)
            if self._place < len(self._text) or not self._fill():
                return self._text[self._place : self._place + 1]

    def value(self) -> object:
        """Return the next value and move past it; raise JsonInvalid."""
        self.peek()
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._place)
            except (ValueError, RecursionError):
                if len(self._text) - self._place > MAX_VALUE_CHARACTERS or not self._read_ahead():
                    raise JsonInvalid from None
                continue
            # A number may continue after what was read.
            if not isinstance(found, str | dict | list):
                delimiter = _SCALAR.match(self._text, end)
                if delimiter and delimiter.end() == len(self._text) and self._fill():
                    continue
            self._advance(end)
            return found

    def skip(self) -> None:
        """Move past the next value without keeping it; raise JsonInvalid."""
        if self.peek() not in "{[":
            self._skip_scalar()
            return
        depth = 0
        while True:
            found = _WITHIN.search(self._text, self._place)
            if found is None:
                self._advance(len(self._text))
                if not self._fill():
                    raise JsonInvalid
                continue
            self._advance(found.end())
            if found[0] == '"':
                self._skip_string()
            else:
                depth += 1 if found[0] in "{[" else -1
                if not depth:
                    return

    def items(self) -> Iterator[None]:
        """Yield before each value of the next array; the caller reads or skips it."""
        yield from self._between("[", "]")

    def members(self) -> Iterator[str]:
        """Yield each key of the next object; the caller reads or skips its value."""
        for _ in self._between("{", "}"):
            key = self.value()
            if not isinstance(key, str) or self.peek() != ":":
                raise JsonInvalid
            self._advance(self._place + 1)
            yield key

    def _between(self, first: str, last: str) -> Iterator[None]:
        if self.peek() != first:
            raise JsonInvalid
        self._advance(self._place + 1)
        if self.peek() == last:
            self._advance(self._place + 1)
            return
        while True:
            yield
            mark = self.peek()
            if mark not in (",", last):
                raise JsonInvalid
            self._advance(self._place + 1)
            if mark == last:
                return
            if self.peek() == last:  # a trailing comma
                self._advance(self._place + 1)
                return

    def _skip_scalar(self) -> None:
        if self.peek() == '"':
            self._advance(self._place + 1)
            self._skip_string()
            return
        while True:
            self._skip_pattern(_SCALAR)
            if self._place < len(self._text) or not self._fill():
                return

    def _skip_string(self) -> None:
        while True:
            found = _STRING.match(self._text, self._place)
            if found is not None:
                self._advance(found.end())
                return
            # An escape may be cut in two at the end of what was read.
            rest = self._text[self._place :]
            escapes = len(rest) - len(rest.rstrip("\\"))
            self._advance(len(self._text) - escapes % 2)
            if not self._fill():
                raise JsonInvalid

    def _skip_pattern(self, pattern: re.Pattern[str]) -> None:
        if found := pattern.match(self._text, self._place):
            self._advance(found.end())

    def _advance(self, place: int) -> None:
        self.line += self._text.count("\n", self._place, place)
        self._place = place

    def _read_ahead(self) -> bool:
        wanted = 2 * (len(self._text) - self._place)
        read = False
        while len(self._text) - self._place <= wanted and self._fill():
            read = True
        return read

    def _fill(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        self._text = self._text[self._place :] + self._decode(block)
        self._place = 0
        return True
