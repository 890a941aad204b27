"""The chats that WhatsApp exports as text: who wrote without being a contact stands there as a number."""

import re
from collections.abc import Iterable, Iterator

from kith.contacts.found import Contact, Fault, one_line, written_numbers
from kith.contacts.lines import Line, decode
from kith.contacts.looks import looks_like_number

MOST_SENDERS = 10_000  # a group has 1,024

# "[28.11.26, 10:00:00] Ann: …" of an iPhone, "28/11/2026, 10:00 - Ann: …" of Android.
_MESSAGE = re.compile(
    r"[\u200e\u200f\ufeff]*\[?\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?\s\d{1,2}[:.]\d{2}(?:[:.]\d{2})?"
    r"(?:\s?[ap]\.?\s?m\.?)?(?:\]\s|\s-\s)[\u200e\u200f~\s]*([^:]{1,100}):\s",
    re.IGNORECASE,
)


def is_chat(lines: Iterable[str]) -> bool:
    """Return whether the first lines of a file are messages of such an export."""
    return sum(_MESSAGE.match(line) is not None for line in lines) >= 2


def read_chat(lines: Iterable[Line]) -> Iterator[Contact | Fault]:
    """Yield everybody who wrote, once; those who are contacts have names and no numbers here."""
    seen = set[str]()
    for line in lines:
        found = _MESSAGE.match(decode(line.content[:400]))
        if found is None:
            continue
        sender = one_line(found[1])
        if sender not in seen and len(seen) < MOST_SENDERS:
            seen.add(sender)
            numbers = written_numbers(sender, line.number) if looks_like_number(sender) else []
            yield Contact("" if numbers else sender, tuple(numbers), line.number)
