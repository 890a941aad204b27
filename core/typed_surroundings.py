"""Text around a typed number: labels, counts, opening hours, floors, extensions, masks.

Its digits must not join the number: the result is often a valid number of somebody else.
"""

import re
from collections.abc import Iterator

#: A number ends at a letter of any script, a raised digit, an extension, a pause or a URI's parameter.
_PART = r"(?:(?![,;#*])[\W\d_])*"
_NUMBER = re.compile(rf"[+(\d]{_PART}\d{_PART}")
#: Before a number: a label such as "Mobile 2:", or a code that hides the caller's number (*31#).
_LABEL = re.compile(
    r"^[^\W\d_][^:+]{0,40}:\s*(?=[+(\d])|^[*#]{1,2}\d{2,3}[*#]\s*(?=[+(\d])|^\([^\W\d_][^()]{0,40}\)\s*"
)
#: One sign repeated in place of digits. In a word such as Maxx the run touches other letters.
_MASK = re.compile(
    r"(?<![^\W\d_])(?:[x\u0445\u00d7]{2,}|([*\u2022\u25cf#?_])\1+)(?![^\W\d_])", re.IGNORECASE
)
_NATIONAL_OR_ABROAD = r"(?=\s*\(?[+0])"
#: The count of a number in a list: "[2] ", "2) ", "2. ", "#2 ", "2 - ", "(2) 0…"; "(2) 3…" is an area code
#: in Australia.
_COUNT = re.compile(
    rf"\[[1-9]\d?\]\s*(?=[+(\d])|\([1-9]\d?\){_NATIONAL_OR_ABROAD}|[1-9][.):]\s+(?=[+(\d])"
    rf"|[1-9]\d[.):]{_NATIONAL_OR_ABROAD}|[1-9]\s+-\s+(?=[+(\d])|#\d{{1,2}}\s+(?=[+(\d])"
)
#: The count of a label: "Mobile 2 0151 …".
_COUNT_OF_LABEL = re.compile(r"[1-9]\s+(?=[+(\d])")
_ENDS_IN_WORD = re.compile(r"[^\W\d_]\.?\s*$")
_HOUR = r"\d{1,2}(?:[:.]\d\d)?"
#: Hours and floors after a number. A short word such as "h" counts only without a blank before it.
_HOURS_OR_FLOOR = re.compile(
    rf"(?<=\d)[\s(\[]+(?:24/7|\d{{1,2}}:\d\d|(?:{_HOUR}\s*(?:h|uhr)?\s*(?:-|\u2013|bis|to)\s*)?{_HOUR}"
    r"(?:(?:h|hrs?|am|pm|st|nd|rd|th|er|e|\u00e8me)(?![^\W\d_])"
    r"|\.?\s*(?:uhr|stock|etage|\u00e9tage|floor|piso|og|ug|stunden|hours?)(?![^\W\d_])))",
    re.IGNORECASE,
)
#: A few digits in brackets after a number; the closing bracket may be missing.
_IN_BRACKETS = re.compile(r"(?<=\d)\s*[(\[][^()\[\]]*(?:[)\]]\s*)?$")
MAX_DIGITS_IN_BRACKETS = 4
MIN_DIGITS_BEFORE_BRACKETS = 4
#: Placeholder for the carrier code in Brazil: (0xx11) 98765-4321.
_CARRIER = re.compile(r"(?<!\d)0\s?xx\s?(?=\d\d)", re.IGNORECASE)
#: Japanese keyboards type the long vowel sign for a dash.
_LONG_VOWEL = re.compile(r"(?<=[\d)])\s*\u30fc\s*(?=[\d(])")


def is_masked(text: str) -> bool:
    """Return whether some digits of a number are hidden, as in 0151 1234XXXX; `text` is visible."""
    return _MASK.search(_LABEL.sub("", _CARRIER.sub("0", text), count=1)) is not None


def bare_numbers(text: str) -> Iterator[str]:
    """Yield the number in a visible text without its surroundings.

    Yields two if a digit may belong to a label or to the number; both must mean the same number.
    """
    text = _LONG_VOWEL.sub("-", _CARRIER.sub("0", text))
    text = _LABEL.sub("", text, count=1).strip()
    if count := _COUNT.match(text):
        text = text[count.end() :]
    hours = _HOURS_OR_FLOOR.search(text)
    found = _NUMBER.search(text, 0, hours.start() if hours else len(text))
    if found is None:
        return
    number = _without_brackets(found[0].strip())
    count = _COUNT_OF_LABEL.match(number)
    if count and _ENDS_IN_WORD.search(text[: found.start()]):
        yield number[count.end() :]
        if re.match(_NATIONAL_OR_ABROAD, number[count.end() :]):
            return
    yield number


def _without_brackets(number: str) -> str:
    while found := _IN_BRACKETS.search(number):
        before, inside = number[: found.start()], found[0]
        if (
            not 0 < _digits_in(inside) <= MAX_DIGITS_IN_BRACKETS
            or _digits_in(before) < MIN_DIGITS_BEFORE_BRACKETS
        ):
            break
        number = before
    return number


def _digits_in(text: str) -> int:
    return sum(character.isdecimal() for character in text)
