"""Phone numbers as people type them: finds the one valid number that a text means.

libphonenumber reads letters after a number as its last digits, and a country code without plus as the start
of a national number. Both results are often valid, and other people's. So a text is repaired first, and read
with its country code as well as without. tests/data/typed_numbers.json holds the cases, for the client too.
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

#: libphonenumber's limit; a longer text is not a number.
MAX_NUMBER_LENGTH = 250

_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
#: After a blank, ".00" could also be a group of digits.
_SPREADSHEET_ZERO = re.compile(r"(\d{6,})\.0{1,2}$|(\d[\d\s-]{4,}\d)\.0$")
#: The national prefix that is not dialled from abroad (ITU-T E.123 section 7.2): +49 (0)151 …
_BRACKETED_ZERO = re.compile(r"(?<=\d)\s*[(\[]\s*0\s*[)\]]")
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_DOUBLE_ZERO = re.compile(r"^\(?\s*\+?\s*0\s*0")
#: A number that ends in letters instead of digits, as in 1-800-FLOWERS or 1-800-GO-FEDEX.
_VANITY = re.compile(r"(\+?(?:[\s().-]*\d){1,8})[\s.-]*([A-Za-z]+(?:-[A-Za-z]+)*\d*)")
#: Digits of a toll-free number before its word, without country code: 800.
MAX_TOLL_FREE_PREFIX_LENGTH = 4
#: Old and new national numbers by country code. Mexico dropped its mobile prefixes in 2019 and 2020; Brazil's
#: mobile numbers have nine digits since 2016.
_RENUMBERED: dict[int, tuple[re.Pattern[str], str]] = {
    52: (re.compile(r"(?:1|01|04[45])([2-9]\d{9})"), r"\1"),
    55: (re.compile(r"(\d{2})([6-9]\d{7})"), r"\g<1>9\2"),
}


def read_region(text: str) -> str:
    """Return the ISO 3166 code of a region in capitals: GB for UK, GR for the EU's EL."""
    code = visible(text).upper()
    return {"UK": "GB", "EL": "GR"}.get(code, code)


def e164_of(parsed: Parsed) -> str:
    """Return a number in E.164, with its plus."""
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def read_number(text: str, region: str | None) -> Parsed | None:
    """Return the valid number that a text means; None if there is none.

    region: the country of numbers without country code, as `read_region` returns it.
    """
    plain = visible(text)
    readings = [
        reading
        for number in _bare_numbers(plain)
        if (reading := _read_bare(number, region)) is not None
    ]
    if not readings:
        return _vanity(plain, region) or _renumbered(text, region)
    # A digit may belong to a label; do not guess between two numbers.
    return readings[0] if len({e164_of(reading) for reading in readings}) == 1 else None


def e164_candidates(text: str, region: str | None) -> list[str]:
    """Return the E.164 forms that a text may have, valid or not."""
    forms = []
    for written in _spellings(text):
        for reading in (_parse(written, region), _with_code(written, region)):
            if reading:
                forms.append(e164_of(reading))
        if written.startswith("+") and (digits := phonenumbers.normalize_digits_only(written)):
            forms.append(f"+{digits}")
    return list(dict.fromkeys(forms))


def why_unreadable(text: str, region: str | None) -> NumberParseException | Parsed:
    """Return what libphonenumber reports for a text that `read_number` rejects: its error or its result."""
    try:
        return phonenumbers.parse(visible(text), _known(region))
    except NumberParseException as error:
        return error


def is_shortened(text: str) -> bool:
    """Return whether a spreadsheet shortened a number, as in 1.5E+11: its last digits are lost."""
    return _SHORTENED.fullmatch(visible(text)) is not None


def has_hidden_digits(text: str) -> bool:
    """Return whether a mask replaces some digits, as in 0151 1234XXXX."""
    return is_masked(visible(text))


def _spellings(text: str) -> Iterator[str]:
    """Yield the spellings of a text, the most repaired first; none if it lost digits."""
    for number in _bare_numbers(visible(text)):
        yield from _variants(number)


def _bare_numbers(plain: str) -> Iterator[str]:
    if is_shortened(plain) or is_masked(plain):
        return
    if "phone-context=" in plain:
        # RFC 3966: the country code follows the number; libphonenumber reads it.
        if not re.search("[A-Za-z]", plain.partition(";")[0].lower().removeprefix("tel:")):
            yield plain
        return
    yield from bare_numbers(unquote(plain))


def _variants(number: str) -> Iterator[str]:
    """Yield the spellings of a number: 00 becomes a plus, a national prefix in brackets is dropped."""
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
    """Read a number that ends in a word, if it is toll-free or has its country code.

    A name after a number without area code is not part of it: 234-5678 Mom.
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
    """Return one of two valid readings: a mobile number before any other, else the national one."""
    if national is None or (
        with_code is not None and _is_mobile(with_code) and not _is_mobile(national)
    ):
        return with_code
    return national


def _national(text: str, region: str | None) -> Parsed | None:
    """Read a text as libphonenumber does; None if the result is invalid or unlikely to be meant."""
    parsed = _parse(text, region)
    if parsed is None or not phonenumbers.is_valid_number(parsed):
        return None
    region = _known(region)
    if text.startswith("+") or region is None or "phone-context=" in text:
        return parsed
    if parsed.country_code == phonenumbers.country_code_for_region(region):
        return parsed
    # In some regions libphonenumber knows international prefixes of one or two digits. With those, a number
    # of another country without plus would become a third country's.
    return parsed if _begins_with_access_code(text, region) else None


def _with_code(text: str, region: str | None) -> Parsed | None:
    """Read a text that begins with its region's country code as if it had a plus."""
    code = phonenumbers.country_code_for_region(_known(region) or "")
    digits = phonenumbers.normalize_digits_only(text)
    if not code or text.startswith("+") or not digits.startswith(str(code)):
        return None
    parsed = _parse(f"+{digits}", None)
    return parsed if parsed and phonenumbers.is_valid_number(parsed) else None


def _renumbered(text: str, region: str | None) -> Parsed | None:
    """Read a number in a form that its country no longer uses; None if its present form is not valid."""
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
        # A national prefix after a country code, without brackets, or where none is dialled: +48 0512 …
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
    """Return whether a text begins with an international prefix of its region.

    If the region has several, one counts only if it begins with 00 and is long or stands by itself: 004 may
    be the beginning of 0049.
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
    """Return the international prefix of a region if it has one, such as 011, and the pattern of all."""
    metadata = PhoneMetadata.metadata_for_region(region)
    several = (metadata and metadata.international_prefix) or ""
    only = ((metadata and metadata.preferred_international_prefix) or several).replace("~", "")
    return only if only.isdigit() and len(only) > len("00") else None, re.compile(several)
