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

from core.typed_surroundings import bare_numbers, is_masked
from core.typed_text import visible

#: As libphonenumber has it; a longer text is no number.
MAX_NUMBER_LENGTH = 250

_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
#: Of ".00" behind a blank nobody knows whether it is a group of digits.
_SPREADSHEET_ZERO = re.compile(r"(\d{6,})\.0{1,2}$|(\d[\d\s-]{4,}\d)\.0$")
#: The national prefix that is not dialled from abroad (ITU-T E.123 section 7.2): +49 (0)151 …
_BRACKETED_ZERO = re.compile(r"(?<=\d)\s*[(\[]\s*0\s*[)\]]")
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_DOUBLE_ZERO = re.compile(r"^\(?\s*\+?\s*0\s*0")
#: A number that ends in letters for digits, as in 1-800-FLOWERS or 1-800-GO-FEDEX.
_VANITY = re.compile(r"(\+?(?:[\s().-]*\d){1,8})[\s.-]*([A-Za-z]+(?:-[A-Za-z]+)*\d*)")
#: Of a toll-free number before its word, without the country's code: 800.
MAX_TOLL_FREE_PREFIX_LENGTH = 4
#: Numbers that got another form, by country code: what stood behind it, and what stands there now. Mexico
#: dropped its mobile prefixes in 2019 and 2020; Brazil's mobiles have nine digits since 2016.
_RENUMBERED: dict[int, tuple[re.Pattern[str], str]] = {
    52: (re.compile(r"(?:1|01|04[45])([2-9]\d{9})"), r"\1"),
    55: (re.compile(r"(\d{2})([6-9]\d{7})"), r"\g<1>9\2"),
}


def read_region(text: str) -> str:
    """Return the ISO 3166 code of a region: in capitals, GB for UK and GR for the EU's EL."""
    code = visible(text).upper()
    return {"UK": "GB", "EL": "GR"}.get(code, code)


def e164_of(parsed: Parsed) -> str:
    """Write a number in E.164, with its plus."""
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def read_number(text: str, region: str | None) -> Parsed | None:
    """Read the valid number that a text means; None when there is none.

    region: the country whose numbers may lack their country code, as `read_region` gives it.
    """
    plain = visible(text)
    readings = [
        reading
        for number in _bare_numbers(plain)
        if (reading := _read_bare(number, region)) is not None
    ]
    if not readings:
        return _vanity(plain, region) or _renumbered(text, region)
    # A digit that is perhaps a label's: whose number it would be is nobody's to guess.
    return readings[0] if len({e164_of(reading) for reading in readings}) == 1 else None


def e164_candidates(text: str, region: str | None) -> list[str]:
    """Return the E.164 forms that a text may have, whether or not such numbers can exist."""
    forms = []
    for written in _spellings(text):
        for reading in (_parse(written, region), _with_code(written, region)):
            if reading:
                forms.append(e164_of(reading))
        if written.startswith("+") and (digits := phonenumbers.normalize_digits_only(written)):
            forms.append(f"+{digits}")
    return list(dict.fromkeys(forms))


def why_unreadable(text: str, region: str | None) -> NumberParseException | Parsed:
    """Return why a text that `read_number` made nothing of is no number: what libphonenumber says of it."""
    try:
        return phonenumbers.parse(visible(text), _known(region))
    except NumberParseException as error:
        return error


def is_shortened(text: str) -> bool:
    """Return whether a spreadsheet wrote a number as 1.5E+11, of which the last digits are lost."""
    return _SHORTENED.fullmatch(visible(text)) is not None


def has_hidden_digits(text: str) -> bool:
    """Return whether a mask stands in the place of some digits, as in 0151 1234XXXX."""
    return is_masked(visible(text))


def _spellings(text: str) -> Iterator[str]:
    """Return what a text may be, the most repaired first; nothing of one that lost its digits."""
    for number in _bare_numbers(visible(text)):
        yield from _variants(number)


def _bare_numbers(plain: str) -> Iterator[str]:
    if is_shortened(plain) or is_masked(plain):
        return
    if "phone-context=" in plain:
        # RFC 3966: the country code stands behind the number, and libphonenumber knows that.
        if not re.search("[A-Za-z]", plain.partition(";")[0].lower().removeprefix("tel:")):
            yield plain
        return
    yield from bare_numbers(unquote(plain))


def _variants(number: str) -> Iterator[str]:
    """Return a number's spellings: 00 is a plus, a national prefix in brackets is dropped."""
    if "phone-context=" in number:
        yield number
        return
    cut = _SPREADSHEET_ZERO.sub(r"\1\2", number)
    yield from dict.fromkeys(
        (
            _DOUBLE_ZERO.sub("+", _BRACKETED_ZERO.sub("", cut)),
            _DOUBLE_ZERO.sub("+", cut),
            cut,
        )
    )


def _read_bare(number: str, region: str | None) -> Parsed | None:
    for written in _variants(number):
        reading = _choose(_national(written, region), _with_code(written, region))
        if reading is not None:
            return reading
    return None


def _vanity(plain: str, region: str | None) -> Parsed | None:
    """Read a number that ends in one word: a toll-free one, or one with its country's code.

    A name behind a number that lacks its area is no part of it: 234-5678 Mom.
    """
    found = _VANITY.fullmatch(plain)
    parsed = _national(plain, region) if found and not is_masked(plain) else None
    if found is None or parsed is None:
        return None
    national = phonenumbers.national_significant_number(parsed)
    front = national[: max(0, len(national) - len(found[2].replace("-", "")))]
    if phonenumbers.number_type(parsed) == PhoneNumberType.TOLL_FREE:
        return parsed if 0 < len(front) <= MAX_TOLL_FREE_PREFIX_LENGTH else None
    digits = phonenumbers.normalize_digits_only(found[1])
    if "-" in found[2] or not digits.removeprefix("00").startswith(f"{parsed.country_code}{front}"):
        return None
    if front and _may_be_local(Parsed(parsed.country_code, int(front))):
        return None
    return None if phonenumbers.number_type(parsed) == PhoneNumberType.MOBILE else parsed


def _may_be_local(parsed: Parsed) -> bool:
    return phonenumbers.is_possible_number_with_reason(parsed) in (
        phonenumbers.ValidationResult.IS_POSSIBLE,
        phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY,
    )


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
    return parsed if _begins_with_access_code(text, region) else None


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
    zero_drops = abroad or not _has_national_prefix(region)
    for form in e164_candidates(text, region):
        for present in _present_forms(form, zero_drops=zero_drops):
            parsed = _parse(present, None)
            if parsed and phonenumbers.is_valid_number(parsed):
                return parsed
    return None


def _present_forms(e164: str, *, zero_drops: bool) -> Iterator[str]:
    parsed = _parse(e164, None)
    if parsed is None:
        return
    code, number = parsed.country_code, phonenumbers.national_significant_number(parsed)
    if code in _RENUMBERED:
        former, present = _RENUMBERED[code]
        if found := former.fullmatch(number):
            yield f"+{code}{found.expand(present)}"
    if zero_drops and number.startswith("0"):
        # A national prefix behind a country code, without brackets, or where none is dialled: +48 0512 …
        yield f"+{code}{number[1:]}"


def _parse(text: str, region: str | None) -> Parsed | None:
    try:
        return phonenumbers.parse(text, _known(region))
    except NumberParseException:
        return None


def _known(region: str | None) -> str | None:
    return region if region in phonenumbers.SUPPORTED_REGIONS else None


def _has_national_prefix(region: str | None) -> bool:
    metadata = PhoneMetadata.metadata_for_region(_known(region) or "")
    return metadata is None or metadata.national_prefix is not None


def _is_mobile(parsed: Parsed) -> bool:
    return phonenumbers.number_type(parsed) in _MOBILE


def _begins_with_access_code(text: str, region: str) -> bool:
    """Return whether a text begins with what its region dials before a country code.

    Where that is one thing, it is taken at its word; of several only one behind 00 that is long or stands
    by itself: 004 may be the beginning of 0049.
    """
    digits = phonenumbers.normalize_digits_only(text)
    only, several = _access_codes(region)
    if only:
        return digits.startswith(only)
    found = several.match(digits)
    if found is None or not digits.startswith("00"):
        return False
    behind = [at for at, one in enumerate(text) if one.isdecimal()][found.end() - 1] + 1
    return found.end() > len("004") or not text[behind : behind + 1].isdecimal()


@cache
def _access_codes(region: str) -> tuple[str | None, re.Pattern[str]]:
    """Return what a region dials before a country code, where it is one thing such as 011, and all of it."""
    metadata = PhoneMetadata.metadata_for_region(region)
    several = (metadata and metadata.international_prefix) or ""
    only = ((metadata and metadata.preferred_international_prefix) or several).replace("~", "")
    return only if only.isdigit() and len(only) > len("00") else None, re.compile(several)
