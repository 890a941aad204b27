"""Repairs of phone numbers: removes what people and programs write into a number.

A repair only cuts or replaces text. `kith.contacts.numbers` decides by validity which variant counts.
"""

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

#: A text that needs no repair: ASCII digits and separators.
PLAIN = re.compile(r"\+?\(?[1-9][0-9 ()-]*|\(?0[1-9][0-9 ()-]*", re.ASCII)
#: Digits that a spreadsheet has rounded away.
SHORTENED = re.compile(r"[+-]?\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)

_FORMULA = re.compile(r'=\s*"+(.*?)"+\s*|=\s*(\+?\d[\d\s()-]*)')
_WHATSAPP_ID = re.compile(r"(\d{7,15})(?:[:.]\d+)?@(?:s\.whatsapp\.net|c\.us)")
_LABEL = re.compile(
    r"\A[^\w+(]{0,9}(?:[^\W\d_][^:+\d]{0,30}\d?\s*:|\([^\W\d_][^()+\d]{0,30}\))\s*(?=[+(\d*#])"
)
_JAPANESE_DASH = re.compile("(?<=\\d)\u30fc(?=\\d)")  # the sign of a long vowel
_SERVICE = re.compile(
    r"\A[^\d+(]{0,30}?[*#]{1,2}\d{2,3}[*#](?=\s*[+(\d])"
)  # *31# and #31#: caller id on and off
_BODY = re.compile(r"[^\d+(]*(\(?\s*\+?[\d\s()./\u2010-\u2015\u2212-]*\d)")
_DECIMAL = re.compile(r"(\+?\d{7,})[.,]0+")
_ZERO_IN_BRACKETS = re.compile(r"[(\[]\s*0\s*[)\]]")
_DOUBLE_ZERO = re.compile(r"\(?\s*\+?\s*0\s*0\)?(?=[\s(./-]*[1-9])")
_LETTER = re.compile(r"[^\W\d_]")
#: Digits and a word of three letters or more: 1-800-FLOWERS, 1300 6 FLOWERS.
_VANITY = re.compile(r"\+?[\d\s().-]{1,14}[A-Za-z]{2,}[A-Za-z\d\s-]*")
_VANITY_WORD = re.compile(r"[A-Za-z]{3}")
#: Hidden digits: one repeated sign.
_MASK = re.compile(
    r"(?<![^\W\d_])([xX*#?_\u2022\u25cf\u00b7\u2219\u2217])(?:[\s().-]?\1)+(?![^\W\d_])"
)
_NEXT_TO_MASK = re.compile(r"[\s().\[\]/+-]*")
_SEPARATORS = " ().[]/-"
#: A mistyped or misread letter among digits; w, p, x and t are pauses and extensions.
_STRAY_AFTER = re.compile(
    r"[lIOo](?![^\W\d_])|[ ]?[lIOo](?=\d)(?!2\b)|[a-oq-suvyzA-OQ-SUVYZ](?=\d)(?!2\b)"
)
_STRAY_BEFORE = re.compile(r"(?<![^\W\d_])[lIOo]\Z")
_BRAZILIAN_CARRIER = re.compile(r"\A(\(?0)\s?xx\s?(?=\)?\s?\d\d)", re.IGNORECASE)
#: Notes after a number that begin with digits: (2), 24h, 8-17 Uhr, 2. Stock.
_IN_BRACKETS_AFTER = re.compile(r"\s*[(\[]\s*\d{1,2}(?:\s?[-\u2013./:]\s?\d{1,2}){0,3}\Z")
_ALL_WEEK = re.compile(r"\s+24\s?/\s?7\Z")
_COUNT_AFTER = re.compile(r"\s+\d{1,2}(?:\s?[-\u2013]\s?\d{1,2})?\Z")
_COUNTED = re.compile(
    r"\s?(?:h|uhr|std|[ap]\.?m)\b|\.\s?(?:stock|og|etage|floor|\u00e9tage|piso|piano)\b|(?:st|nd|rd|th)\s?floor",
    re.IGNORECASE,
)
#: Counts before a number: "2) ", "#1 ", and the 2 of "Handy 2 ".
_COUNT_BEFORE = re.compile(
    r"#?[1-9](?:\s?[):]\s*|\.\s+)(?=[+(\d])|#[1-9]\s+(?=[+(\d])|[(\[][1-9][)\]]\s*(?=[+0])"
    r"|[^\W\d_][^+\d(]{1,30}[1-9]\s+(?=[+(0])"
)
_COUNT_PERHAPS_BEFORE = re.compile(r"[^\W\d_][^+\d(]{0,30}\s[1-9]\s+(?=\d)")
_DATE = re.compile(
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2}))(?:[\sT]+\d{1,2}|\Z)"
)
_MANY_SPACES = re.compile(r"\s+")
_FILLERS = re.compile("[\u115f\u1160\u3164\uffa0]")
#: Direction marks and joiners; variation selectors, keycaps and accents.
_UNSEEN = frozenset({"Cf", "Mn", "Me"})

MIN_DIGITS = 7  # of a complete number
#: With the prefix of a freephone number: 0800 12 FLOWERS.
MAX_DIGITS_BEFORE_WORD = 7
MAX_DIGITS_BEFORE_LOWERCASE = 5


def normalize_text(text: str) -> str:
    """Return a text without invisible characters, a spreadsheet's ="…" and a leading apostrophe."""
    if not text.isascii():
        text = _FILLERS.sub("", text)
        text = "".join(one for one in text if unicodedata.category(one) not in _UNSEEN)
        # Superscripts and circled digits are notes, not digits of the number.
        text = "".join(
            one if unicodedata.category(one) == "No" else unicodedata.normalize("NFKC", one)
            for one in text
        )
        text = "".join(
            str(unicodedata.decimal(one, one)) if one.isdecimal() else one for one in text
        )
        text = _JAPANESE_DASH.sub("-", text)
    text = _MANY_SPACES.sub(" ", text).strip().lstrip("'").strip()
    if formula := _FORMULA.fullmatch(text):
        text = (formula[1] or formula[2] or "").strip().lstrip("'")
    if known := _WHATSAPP_ID.fullmatch(text):
        text = f"+{known[1]}"
    return text


def is_uri(text: str) -> bool:
    """Return whether a value is a tel: URI or a similar one."""
    return text[:10].lower().startswith(("tel:", "callto:", "sms:", "whatsapp:"))


def uri_number(text: str) -> str:
    """Return the number of a tel: URI (RFC 3966). Of its parameters only phone-context counts,
    which comes before a local number.
    """
    number, *parameters = unquote(text.partition(":")[2]).split(";")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "phone-context" and value.strip().startswith("+"):
            return number if number.strip().startswith("+") else value + number
    return number.removeprefix("//")


def variants(text: str) -> Iterator[str]:
    """Yield the variants of a normalized text, the most repaired first and the text itself last.

    What follows the number is cut (a word, a pause and what is dialled after it, a spreadsheet's
    decimals), a zero in brackets is dropped, a double zero becomes a plus.
    """
    seen = set[str]()
    for one in _repaired(text):
        if one not in seen:
            seen.add(one)
            yield one


def is_international(text: str) -> bool:
    """Return whether a text starts with a plus."""
    return text.lstrip(" (").startswith("+")


def has_country_code(text: str) -> bool:
    """Return whether a text starts with a plus or a double zero."""
    return is_international(text) or _DOUBLE_ZERO.match(text) is not None


def may_be_vanity(text: str) -> bool:
    """Return whether letters in a text may stand for digits, as in 1-800-FLOWERS and
    1-212-555-TAXI: a word in capitals, or a word after few digits. `numbers` decides.
    """
    if not _VANITY.fullmatch(text) or not _VANITY_WORD.search(text):
        return False
    return text == text.upper() or digits_before_letters(text) <= MAX_DIGITS_BEFORE_LOWERCASE


def digits_before_letters(text: str) -> int:
    """Return the number of digits before the first letter."""
    return count_digits(_LETTER.split(text, maxsplit=1)[0])


def is_masked(text: str) -> bool:
    """Return whether digits of a number are replaced by a repeated sign."""
    front, _, suffix = _split_number(text)
    masks = list(_MASK.finditer(front))
    if masks and _NEXT_TO_MASK.fullmatch(front, masks[-1].end()):
        return True
    return _MASK.match(suffix.lstrip(_SEPARATORS)) is not None


def has_stray_letter(text: str) -> bool:
    """Return whether a letter is among the digits of a number, where a digit may be missing."""
    front, number, suffix = _split_number(text)
    if not number:
        return False
    return (_STRAY_AFTER.match(suffix) or _STRAY_BEFORE.search(front)) is not None


def with_brazilian_prefix(text: str) -> str:
    """Return 0xx11 as 011: "xx" stands for a carrier of one's choice."""
    return _BRAZILIAN_CARRIER.sub(r"", text, count=1)


def is_plain(text: str) -> bool:
    """Return whether a text needs no repair; a count in brackets would."""
    return (
        PLAIN.fullmatch(text) is not None
        and "(0)" not in text
        and ")" not in text[1:3]
        and not text.endswith(")")
    )


def has_letters(text: str) -> bool:
    """Return whether a text has a letter."""
    return _LETTER.search(text) is not None


def first_number(text: str) -> tuple[str, str]:
    """Return the first number of a text as written, and the text after it; "" without one."""
    _, number, suffix = _split_number(text)
    return number, suffix


def count_digits(text: str) -> int:
    """Return the number of digits in a text."""
    return sum(one.isdigit() for one in text)


def is_date(text: str) -> bool:
    """Return whether digits are a date, perhaps with a time."""
    return _DATE.match(text.strip()) is not None


def extract_digits(text: str) -> str:
    """Return the digits of a number with a country code, without a zero in brackets."""
    return "".join(one for one in _ZERO_IN_BRACKETS.sub("", text) if one.isdecimal())


def _split_number(text: str) -> tuple[str, str, str]:
    """Return the text before the first number, the number, and the text after it."""
    text = _SERVICE.sub("", _LABEL.sub("", text, count=1), count=1)
    found = _BODY.match(text)
    return (text[: found.start(1)], found[1], text[found.end() :]) if found else ("", "", text)


def _repaired(text: str) -> Iterator[str]:
    if count := _COUNT_BEFORE.match(text):
        yield from _cut(text[count.end() :])
    yield from _cut(text)
    if count := _COUNT_PERHAPS_BEFORE.match(text):
        yield from _cut(text[count.end() :])
    yield text


def _cut(text: str) -> Iterator[str]:
    number, suffix = first_number(text)
    if shorter := _without_count(number, suffix):
        yield from _with_plus(shorter)
    if decimal := _DECIMAL.fullmatch(number.strip()):
        number = decimal[1]
    yield from _with_plus(number or text)


def _without_count(number: str, suffix: str) -> str:
    """Return a number without a count after it, as in (2), 24h and 2. Stock; "" without one."""
    if found := _ALL_WEEK.search(number):
        return number[: found.start()]
    if suffix[:1] in (")", "]") or _COUNTED.match(suffix):
        for count in (_IN_BRACKETS_AFTER, _COUNT_AFTER):
            if found := count.search(number):
                return number[: found.start()]
    return ""


def _with_plus(cut: str) -> Iterator[str]:
    for one in (_ZERO_IN_BRACKETS.sub("", cut), cut) if has_country_code(cut) else ():
        if _DOUBLE_ZERO.match(one):
            # Without the brackets around it.
            yield _DOUBLE_ZERO.sub("+", one, count=1).replace(")", " ").replace("(", " ")
        yield one
    yield cut
