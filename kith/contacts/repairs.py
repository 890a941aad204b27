"""What people and programs write into a number that is none of it, and the text without it.

Each repair is a cut or an exchange of text and decides nothing: which of the texts is the number is
told by which of them is valid (`kith.contacts.numbers`).
"""

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

#: A text that holds nothing to repair: ASCII digits, and between them what only divides them.
PLAIN = re.compile(r"\+?\(?[1-9][0-9 ()-]*|\(?0[1-9][0-9 ()-]*", re.ASCII)
#: Digits that a spreadsheet has rounded away.
SHORTENED = re.compile(r"[+-]?\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)

_FORMULA = re.compile(r'=\s*"+(.*?)"+\s*|=\s*(\+?\d[\d\s()-]*)')
_WHATSAPP_ID = re.compile(r"(\d{7,15})(?:[:.]\d+)?@(?:s\.whatsapp\.net|c\.us)")
_LABEL = re.compile(r"[^\W\d_][^:+\d]{0,30}\d?\s*:\s*(?=[+(\d])")
_SERVICE = re.compile(
    r"[*#]{1,2}\d{2,3}[*#](?=\s*[+(\d])"
)  # *31# and #31#: whether to show the own number
_BODY = re.compile(r"[^\d+(]*(\(?\s*\+?[\d\s()./\u2010-\u2015\u2212-]*\d)")
_DECIMAL = re.compile(r"(\+?\d{7,})[.,]0+")
_ZERO_IN_BRACKETS = re.compile(r"[(\[]\s*0\s*[)\]]")
_DOUBLE_ZERO = re.compile(r"\(?\s*\+?\s*0\s*0\)?(?=[\s(./-]*[1-9])")
_LETTER = re.compile(r"[^\W\d_]")
_VANITY = re.compile(r"\+?[\d\s().-]{1,12}[\s.-]?[A-Za-z][A-Za-z\d\s-]*")
_MANY_SPACES = re.compile(r"\s+")
_FILLERS = re.compile("[\u115f\u1160\u3164\uffa0]")
#: Direction marks and joiners; variation selectors, keycaps and accents.
_UNSEEN = frozenset({"Cf", "Mn", "Me"})

FEWEST_DIGITS = 7  # of what is a whole number by itself, as E.164 knows none with fewer
MOST_DIGITS_OF_A_VANITY_NUMBER = 8  # before its word, as in 1-800-FLOWERS and 1-212-555-TAXI


def tidy(text: str) -> str:
    """Return a text without what cannot be seen, a spreadsheet's ="…" and its leading apostrophe."""
    if not text.isascii():
        text = _FILLERS.sub("", text)
        text = "".join(one for one in text if unicodedata.category(one) not in _UNSEEN)
        text = unicodedata.normalize("NFKC", text)
        text = "".join(
            str(unicodedata.decimal(one, one)) if one.isdecimal() else one for one in text
        )
    text = _MANY_SPACES.sub(" ", text).strip().lstrip("'").strip()
    if formula := _FORMULA.fullmatch(text):
        text = (formula[1] or formula[2] or "").strip().lstrip("'")
    if known := _WHATSAPP_ID.fullmatch(text):
        text = f"+{known[1]}"
    return text


def is_uri(text: str) -> bool:
    """Return whether a value is a tel: URI or one of its relatives."""
    return text[:10].lower().startswith(("tel:", "callto:", "sms:", "whatsapp:"))


def of_uri(text: str) -> str:
    """Return the number of a tel: URI (RFC 3966): everything behind ";" is a parameter, of which
    phone-context says what stands before a local number, and no other says anything about it.
    """
    number, *parameters = unquote(text.partition(":")[2]).split(";")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "phone-context" and value.strip().startswith("+"):
            return number if number.strip().startswith("+") else value + number
    return number.removeprefix("//")


def variants(text: str) -> Iterator[str]:
    """Yield what a tidy text may mean, the one with most repairs first and the text itself last.

    What stands behind the number is cut (a word, a pause and what is dialled after it, the decimals
    of a spreadsheet), a zero in brackets is dropped, a double zero becomes a plus.
    """
    seen = set[str]()
    for one in _repaired(text):
        if one not in seen:
            seen.add(one)
            yield one


def is_international(text: str) -> bool:
    """Return whether a text names its country itself, with a plus."""
    return text.lstrip(" (").startswith("+")


def starts_abroad(text: str) -> bool:
    """Return whether a text names its country with a plus or with a double zero."""
    return is_international(text) or _DOUBLE_ZERO.match(text) is not None


def may_be_vanity(text: str) -> bool:
    """Return whether letters in a text may stand for digits, as in 1-800-FLOWERS.

    A word behind a number that is long enough without it is no part of the number.
    """
    if not _VANITY.fullmatch(text):
        return False
    before = _LETTER.split(text, maxsplit=1)[0]
    return digits_in(before) <= MOST_DIGITS_OF_A_VANITY_NUMBER


def has_letters(text: str) -> bool:
    """Return whether there is a letter in a text."""
    return _LETTER.search(text) is not None


def body(text: str) -> tuple[str, str]:
    """Return the first number of a text as written, and what stands behind it; "" without one."""
    text = _SERVICE.sub("", _LABEL.sub("", text, count=1), count=1)
    found = _BODY.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def digits_in(text: str) -> int:
    """Return how many digits a text holds."""
    return sum(one.isdigit() for one in text)


def _repaired(text: str) -> Iterator[str]:
    cut, _ = body(text)
    if decimal := _DECIMAL.fullmatch(cut.strip()):
        cut = decimal[1]
    cut = cut or text
    for one in (_ZERO_IN_BRACKETS.sub("", cut), cut) if starts_abroad(cut) else ():
        if _DOUBLE_ZERO.match(one):
            # Without the brackets that it may have stood in.
            yield _DOUBLE_ZERO.sub("+", one, count=1).replace(")", " ").replace("(", " ")
        yield one
    yield cut
    yield text
