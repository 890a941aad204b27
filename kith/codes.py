"""Codes as people type and paste them.

Read as the service reads them: tests/data/typed_codes.json is held against both.
"""

import re
import unicodedata

_BLANKS = "\t\n\v\f\r\x85"
#: What stands between a code's digits: points and commas as in a call that was written down, a minus.
_PUNCTUATION = re.compile(r"[.,\u00b7\u2212]")
#: Blanks; dashes; format characters such as direction marks; marks such as those of keycaps.
_NOTHING = frozenset({"Zs", "Zl", "Zp", "Pd", "Cf", "Mn", "Me"})


def read_code(text: str) -> str | None:
    """Return the 6 or 8 digits that a typed code consists of, or None for what cannot be one.

    Digits of any script count, with blanks and dashes of any kind between them.
    """
    digits = []
    for character in unicodedata.normalize("NFKC", text):
        category = unicodedata.category(character)
        if category == "Nd":
            digits.append(str(unicodedata.decimal(character)))
        elif not (
            category in _NOTHING or character in _BLANKS or _PUNCTUATION.fullmatch(character)
        ):
            return None
    return "".join(digits) if len(digits) in (6, 8) else None
