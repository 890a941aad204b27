"""Typed numbers: what a text may mean as a phone number, and which of its readings was meant.

libphonenumber reads one number out of one text. It takes letters behind a number for its last digits, and a
country code without plus for the beginning of a national number; both are often valid, and somebody else's.
So a text is read repaired first, and with its country code as well as without. The cases are in
tests/data/typed_numbers.json, which the client's reading is held against too.
"""

import re
from collections.abc import Iterator
from functools import cache
from urllib.parse import unquote

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberType
from phonenumbers import PhoneNumber as Parsed

from core.typed_text import visible

#: As libphonenumber has it; a longer text is no number.
MAX_NUMBER_LENGTH = 250

_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
#: From a number's first digit or sign to what follows it: a word, an extension, a pause, a URI's parameter.
_NUMBER = re.compile(r"[+(\d][^A-Za-z,;#]*\d[^A-Za-z,;#]*")
_SPREADSHEET_ZERO = re.compile(r"(\d{6,})\.0{1,2}$")
#: The national prefix that is not dialled from abroad (ITU-T E.123 section 7.2): +49 (0)151 …
_BRACKETED_ZERO = re.compile(r"(?<=\d)\s*[(\[]\s*0\s*[)\]]")
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_DOUBLE_ZERO = re.compile(r"^\(?\s*\+?\s*0\s*0")
#: What stands in front of a number: a label such as "Mobile 2:", a code that hides one's own number (*31#).
_LABEL = re.compile(r"^[A-Za-z][^:+]{0,40}:\s*(?=[+(\d])|^[*#]{1,2}\d{2,3}[*#]\s*(?=[+(\d])")
#: A number that ends in letters for digits, as in 1-800-FLOWERS; behind more digits a word is no part of it.
_VANITY = re.compile(r"\+?(?:[\s().-]*\d){1,8}[\s.-]*[A-Za-z]{3}[A-Za-z\d\s-]*")
#: Numbers that got another form, by country code: what stood behind it, and what stands there now. Mexico
#: dropped its mobile prefixes in 2019 and 2020; Brazil's mobiles have nine digits since 2016.
_RENUMBERED: dict[int, tuple[re.Pattern[str], str]] = {
    52: (re.compile(r"(?:1|01|04[45])([2-9]\d{9})"), r"\1"),
    55: (re.compile(r"(\d{2})([6-9]\d{7})"), r"\g<1>9\2"),
}


def read_region(text: str) -> str:
    """Give a region as ISO 3166 has it: in capitals, GB for UK and GR for EL, as people and the EU write."""
    code = visible(text).upper()
    return {"UK": "GB", "EL": "GR"}.get(code, code)


def e164_of(parsed: Parsed) -> str:
    """Write a number in E.164, with its plus."""
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def read_number(text: str, region: str | None) -> Parsed | None:
    """Read the valid number that a text means; None when there is none.

    region: the country whose numbers may lack their country code, as `read_region` gives it.
    """
    for written in _spellings(text):
        reading = _choose(_national(written, region), _with_code(written, region))
        if reading is not None:
            return reading
    return _renumbered(text, region)


def forms_of(text: str, region: str | None) -> list[str]:
    """Give the E.164 forms that a text may have, whether or not such numbers can exist."""
    forms = []
    for written in _spellings(text):
        for reading in (_parse(written, region), _with_code(written, region)):
            if reading:
                forms.append(e164_of(reading))
        if written.startswith("+") and (digits := phonenumbers.normalize_digits_only(written)):
            forms.append(f"+{digits}")
    return list(dict.fromkeys(forms))


def why_unreadable(text: str, region: str | None) -> NumberParseException | Parsed:
    """Give why a text that `read_number` made nothing of is no number: what libphonenumber says of it."""
    try:
        return phonenumbers.parse(visible(text), _known(region))
    except NumberParseException as error:
        return error


def is_shortened(text: str) -> bool:
    """Say whether a spreadsheet wrote a number as 1.5E+11, of which the last digits are lost."""
    return _SHORTENED.fullmatch(visible(text)) is not None


def _spellings(text: str) -> Iterator[str]:
    """Give what a text may be, the most repaired first; nothing of one that lost its digits.

    What stands around the number is cut, a national prefix in brackets is dropped, 00 becomes a plus.
    """
    return iter(dict.fromkeys(_variants(visible(text))))


def _variants(plain: str) -> Iterator[str]:
    if is_shortened(plain):
        return
    if "phone-context=" in plain:
        # RFC 3966: the country code stands behind the number, and libphonenumber knows that.
        yield plain
        return
    found = _NUMBER.search(_LABEL.sub("", unquote(plain), count=1))
    if found is not None:
        cut = _SPREADSHEET_ZERO.sub(r"\1", found[0].strip())
        yield _DOUBLE_ZERO.sub("+", _BRACKETED_ZERO.sub("", cut))
        yield _DOUBLE_ZERO.sub("+", cut)
        yield cut
    if _VANITY.fullmatch(plain) or not re.search("[A-Za-z]", plain):
        yield plain


def _choose(national: Parsed | None, with_code: Parsed | None) -> Parsed | None:
    """Choose between two valid readings: a mobile number before any other, else the plain one."""
    if national is None or (
        with_code is not None and _is_mobile(with_code) and not _is_mobile(national)
    ):
        return with_code
    return national


def _national(text: str, region: str | None) -> Parsed | None:
    """Read a text as libphonenumber does; None for what is invalid or leads astray."""
    parsed = _parse(text, region)
    if parsed is None or not phonenumbers.is_valid_number(parsed):
        return None
    region = _known(region)
    if text.startswith("+") or region is None or "phone-context=" in text:
        return parsed
    if parsed.country_code == phonenumbers.country_code_for_region(region):
        return parsed
    # To some regions libphonenumber knows international prefixes of two digits or of one, with which a
    # number of another country that lacks its code would be a third country's.
    prefix = _international_prefix(region)
    digits = phonenumbers.normalize_digits_only(text)
    return parsed if prefix and digits.startswith(prefix) else None


def _with_code(text: str, region: str | None) -> Parsed | None:
    """Read a text without plus that begins with its region's country code as if it had one."""
    code = phonenumbers.country_code_for_region(_known(region) or "")
    digits = phonenumbers.normalize_digits_only(text)
    if not code or text.startswith("+") or not digits.startswith(str(code)):
        return None
    parsed = _parse(f"+{digits}", None)
    return parsed if parsed and phonenumbers.is_valid_number(parsed) else None


def _renumbered(text: str, region: str | None) -> Parsed | None:
    """Read a number in a form that its country does not have; None when its present one is not valid."""
    abroad = any(written.startswith("+") for written in _spellings(text))
    for form in forms_of(text, region):
        for present in _present_forms(form, abroad=abroad):
            parsed = _parse(present, None)
            if parsed and phonenumbers.is_valid_number(parsed):
                return parsed
    return None


def _present_forms(e164: str, *, abroad: bool) -> Iterator[str]:
    parsed = _parse(e164, None)
    if parsed is None:
        return
    code, number = parsed.country_code, phonenumbers.national_significant_number(parsed)
    if code in _RENUMBERED:
        former, present = _RENUMBERED[code]
        if found := former.fullmatch(number):
            yield f"+{code}{found.expand(present)}"
    if abroad and number.startswith("0"):
        # The national prefix behind a country code, without brackets: +48 0512 …
        yield f"+{code}{number[1:]}"


def _parse(text: str, region: str | None) -> Parsed | None:
    try:
        return phonenumbers.parse(text, _known(region))
    except NumberParseException:
        return None


def _known(region: str | None) -> str | None:
    return region if region in phonenumbers.SUPPORTED_REGIONS else None


def _is_mobile(parsed: Parsed) -> bool:
    return phonenumbers.number_type(parsed) in _MOBILE


@cache
def _international_prefix(region: str) -> str | None:
    """Give what a region dials before a country code, where it is one thing: 011, 010, 810."""
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        return None
    prefix = metadata.preferred_international_prefix or metadata.international_prefix or ""
    digits = prefix.replace("~", "")
    return digits if digits.isdigit() and len(digits) > 2 else None
