"""Text as people type and paste it: drops invisible characters and unifies blanks.

Contacts, messengers and keyboards add direction marks, no-break and thin blanks, soft hyphens, variation
selectors and line ends to what a person sees as plain digits.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import groupby

#: Format characters (Cf), and marks on a digit such as the keycap (Mn, Me).
_INVISIBLE = frozenset({"Cf", "Mn", "Me"})
_BLANK = frozenset({"Zs", "Zl", "Zp"})
_LINE_ENDS = "\t\n\v\f\r\x85"
#: Between the digits of a code: blanks, dashes, and the punctuation of call transcripts.
_BETWEEN_DIGITS = re.compile(r"[\s.,\u00b7\u2212]")
SHORTEST_CODE, MAX_CODE = 6, 8


def visible(text: str) -> str:
    """Return a text as people see it: no invisible characters, plain blanks, ASCII digits, NFKC.

    Keep raised and circled digits and fractions: after a number they are not part of it.
    """
    shown = []
    for character in _normalised(text):
        category = unicodedata.category(character)
        if category == "Nd":
            shown.append(str(unicodedata.decimal(character)))
        elif category in _BLANK or character in _LINE_ENDS:
            shown.append(" ")
        elif category not in _INVISIBLE:
            shown.append(character)
    return "".join(shown).strip()


def _normalised(text: str) -> str:
    return "".join(
        "".join(run) if kept else unicodedata.normalize("NFKC", "".join(run))
        for kept, run in groupby(text, _would_become_digits)
    )


@lru_cache(4096)
def _would_become_digits(character: str) -> bool:
    """Return whether NFKC turns a character that is not a digit into one, such as a raised 2."""
    return (
        not character.isascii()
        and unicodedata.category(character) != "Nd"
        and any(map(str.isdecimal, unicodedata.normalize("NFKC", character)))
    )


def read_code(text: str) -> str | None:
    """Return a typed code as 6 or 8 ASCII digits; None if it cannot be one.

    Accepts digits of any script (Unicode category Nd), with blanks and dashes of any kind between them.
    """
    digits = []
    for character in visible(unicodedata.normalize("NFKC", text)):
        if "0" <= character <= "9":
            digits.append(character)
        elif not _BETWEEN_DIGITS.match(character) and unicodedata.category(character) != "Pd":
            return None
    return "".join(digits) if len(digits) in (SHORTEST_CODE, MAX_CODE) else None
