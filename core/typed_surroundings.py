"""What stands around a typed number: labels, counts, opening hours, floors, extensions, masks.

None of its digits may become the number's: joined they are often a valid number, and somebody else's.
"""

import re
from collections.abc import Iterator

#: From a number's first digit or sign to what ends it: a letter of any script or a raised digit, an
#: extension, a pause, a URI's parameter.
_PART = r"(?:(?![,;#*])[\W\d_])*"
_NUMBER = re.compile(rf"[+(\d]{_PART}\d{_PART}")
#: What stands in front of a number: a label such as "Mobile 2:", a code that hides one's own number (*31#).
_LABEL = re.compile(
    r"^[^\W\d_][^:+]{0,40}:\s*(?=[+(\d])|^[*#]{1,2}\d{2,3}[*#]\s*(?=[+(\d])|^\([^\W\d_][^()]{0,40}\)\s*"
)
#: A run of one sign in the place of digits; words such as Maxx hold one beside other letters.
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
#: Hours and floors behind a number. A short word such as "h" counts only where no blank is before it.
_HOURS_OR_FLOOR = re.compile(
    rf"(?<=\d)[\s(\[]+(?:24/7|\d{{1,2}}:\d\d|(?:{_HOUR}\s*(?:h|uhr)?\s*(?:-|\u2013|bis|to)\s*)?{_HOUR}"
    r"(?:(?:h|hrs?|am|pm|st|nd|rd|th|er|e|\u00e8me)(?![^\W\d_])"
    r"|\.?\s*(?:uhr|stock|etage|\u00e9tage|floor|piso|og|ug|stunden|hours?)(?![^\W\d_])))",
    re.IGNORECASE,
)
#: A few digits in brackets behind a number; the end bracket may be cut with a word.
_IN_BRACKETS = re.compile(r"(?<=\d)\s*[(\[][^()\[\]]*(?:[)\]]\s*)?$")
MAX_DIGITS_IN_BRACKETS = 4
MIN_DIGITS_BEFORE_BRACKETS = 4
#: Where the digits of a carrier are dialled in Brazil: (0xx11) 98765-4321.
_CARRIER = re.compile(r"(?<!\d)0\s?xx\s?(?=\d\d)", re.IGNORECASE)
#: Japanese keyboards write the sign of a long vowel as a dash.
_LONG_VOWEL = re.compile(r"(?<=[\d)])\s*\u30fc\s*(?=[\d(])")


def is_masked(text: str) -> bool:
    """Return whether some digits of a number are hidden, as in 0151 1234XXXX; `text` is visible."""
    return _MASK.search(_LABEL.sub("", _CARRIER.sub("0", text), count=1)) is not None


def bare_numbers(text: str) -> Iterator[str]:
    """Return the number in a visible text without what stands around it.

    Two where a digit may be a label's or the number's; they must mean the same.
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
