"""Phone numbers as written to E.164: one interpretation for every file and every command.

Plain digits and separators are read as they are. Other text is repaired first (`repairs`), and the first
variant that is valid counts, so that a word after a number does not become digits. Only valid numbers are
returned: no other can be registered, and a lookup would be paid in vain.
"""

import re

import phonenumbers

from kith.contacts import numbering_plans, repairs

MAX_NUMBER_CHARACTERS = 250

_REASONS = {
    phonenumbers.NumberParseException.INVALID_COUNTRY_CODE: "without a known country code",
    phonenumbers.NumberParseException.NOT_A_NUMBER: "not a phone number",
    phonenumbers.NumberParseException.TOO_SHORT_AFTER_IDD: "too short",
    phonenumbers.NumberParseException.TOO_SHORT_NSN: "too short",
    phonenumbers.NumberParseException.TOO_LONG: "too long",
}
_COUNTRY_INDEPENDENT = (
    phonenumbers.NumberParseException.INVALID_COUNTRY_CODE,
    phonenumbers.NumberParseException.NOT_A_NUMBER,
)
_ALIASES = {"UK": "GB", "EL": "GR"}
_SEPARATORS = str.maketrans("", "", " ()-")
_MOBILE = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE)
#: Kinds of numbers that are issued for the words they spell.
_WITH_WORDS = (
    phonenumbers.PhoneNumberType.TOLL_FREE,
    phonenumbers.PhoneNumberType.SHARED_COST,
    phonenumbers.PhoneNumberType.PREMIUM_RATE,
    phonenumbers.PhoneNumberType.UAN,
)
_NOT_DIGITS = re.compile(r"\D")


class NumberUnreadable(ValueError):
    """A text is no valid E.164 number; the message gives the reason without the text."""


def readings(text: str, region: str | None, own_number: str | None = None) -> tuple[str, ...]:
    """Return the E.164 numbers that a text may mean, the most likely first; mostly one.

    region: ISO 3166 country of numbers without a country code, or None. own_number: one's own E.164
    number; numbers without area code are taken to be of its area. Raise NumberUnreadable.
    """
    if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
        region = region_named(region)
    found = _readings(text, region, own_number)
    if own_number is not None and region is not None and repairs.PLAIN.fullmatch(text):
        # Without a trunk prefix it may lack the area code, even if it is valid without one.
        digits = text.translate(_SEPARATORS)
        local = numbering_plans.in_own_area(digits, region, own_number)
        return (*found, *(one for one in local if one not in found))
    return found


def _readings(text: str, region: str | None, own_number: str | None) -> tuple[str, ...]:
    if found := _plain_number(text, region):
        return found
    if len(text) > 4 * MAX_NUMBER_CHARACTERS:
        raise NumberUnreadable("too long")
    text = repairs.normalize_text(text)
    if repairs.SHORTENED.fullmatch(text):
        raise NumberUnreadable("a spreadsheet has shortened it; its last digits are lost")
    if repairs.is_uri(text):
        text = repairs.uri_number(text).strip()
    if region == "BR":
        text = repairs.with_brazilian_prefix(text)
    if repairs.is_masked(text):
        raise NumberUnreadable("some of its digits are hidden")
    if repairs.has_stray_letter(text):
        raise NumberUnreadable("a letter stands among its digits")
    variants = [text] if repairs.is_plain(text) else list(repairs.variants(text))
    for one in variants:
        if found := _valid(one, region):
            return found
    if region is not None and not repairs.has_country_code(variants[0]):
        digits = _NOT_DIGITS.sub("", variants[0])
        if found := numbering_plans.complete_with_area_code(digits, region, own_number):
            return found
    raise NumberUnreadable(_reason(variants[0], region))


def normalise(text: str, region: str | None, own_number: str | None = None) -> str:
    """Return the most likely E.164 number of a text, such as "+4915112345678"; see `readings`."""
    return readings(text, region, own_number)[0]


def region_of(e164: str) -> str | None:
    """Return the ISO 3166 country of an E.164 number, None without one."""
    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return None
    region = phonenumbers.region_code_for_number(number)
    if region is None:
        region = phonenumbers.region_code_for_country_code(number.country_code or 0)
    return region if region in phonenumbers.SUPPORTED_REGIONS else None


def region_named(text: str) -> str | None:
    """Return the ISO 3166 country that a person typed, "uk" included; None for an unknown one."""
    region = text.strip().upper()
    region = _ALIASES.get(region, region)
    return region if region in phonenumbers.SUPPORTED_REGIONS else None


def _plain_number(text: str, region: str | None) -> tuple[str, ...]:
    """Return the number of plain digits and separators if it is valid and unambiguous; this saves
    libphonenumber's parsing.
    """
    if not repairs.is_plain(text):
        return ()
    digits = text.translate(_SEPARATORS)
    if digits.startswith("+"):
        parts = numbering_plans.split_calling_code(digits[1:])
        if parts is None or numbering_plans.may_start_with_prefix(*parts):
            return ()
    else:
        parts = numbering_plans.national_at_home(region, digits) if region is not None else None
        if parts is None:
            return ()
    code, number = parts
    if code in numbering_plans.TWO_FORMS or not numbering_plans.is_valid(code, number):
        return ()
    return (f"+{code}{number}",)


def _valid(text: str, region: str | None) -> tuple[str, ...]:
    """Return the valid numbers of one variant of a text."""
    letters = repairs.has_letters(text)
    if letters and not repairs.may_be_vanity(text):
        return ()
    abroad = repairs.is_international(text)
    try:
        number = phonenumbers.parse(text, None if abroad else region)
    except phonenumbers.NumberParseException:
        return ()
    if letters and not _spells_number(number, text):
        return ()
    code = number.country_code or 0
    found = _forms(code, phonenumbers.national_significant_number(number))
    if abroad or region is None:
        return found
    own_code = phonenumbers.country_code_for_region(region)
    if code != own_code:
        # Without a plus, only the country's access code leads to another country.
        return found if _is_access_code(text, region) else ()
    return _with_inner_country_code(found, _NOT_DIGITS.sub("", text), own_code)


def _spells_number(number: phonenumbers.PhoneNumber, text: str) -> bool:
    """Return whether letters stand for digits of a number: after a prefix for such numbers, such as
    800, or with a country code where the number would be incomplete without the word.
    """
    kind, before = phonenumbers.number_type(number), repairs.digits_before_letters(text)
    if kind in _WITH_WORDS:
        return before <= repairs.MAX_DIGITS_BEFORE_WORD
    code = str(number.country_code)
    national = phonenumbers.national_significant_number(number)
    prefix = sum(one.isalnum() for one in text) - len(national)
    names_country = repairs.is_international(text) or (
        prefix == len(code) and _NOT_DIGITS.sub("", text).startswith(code)
    )
    local = before - prefix < repairs.MIN_DIGITS
    return (
        names_country and local and text.isupper() and kind != phonenumbers.PhoneNumberType.MOBILE
    )


def _forms(code: int, digits: str) -> tuple[str, ...]:
    return tuple(f"+{code}{form}" for form in numbering_plans.national_forms(code, digits))


def _with_inner_country_code(found: tuple[str, ...], digits: str, code: int) -> tuple[str, ...]:
    """Add the numbers of digits that start with the country code and only lack the plus."""
    prefix = str(code)
    if not digits.startswith(prefix):
        return found
    inside = tuple(one for one in _forms(code, digits[len(prefix) :]) if one not in found)
    if inside and not any(_is_mobile(one) for one in found) and _is_mobile(inside[0]):
        return (*inside, *found)
    return (*found, *inside)


def _is_mobile(e164: str) -> bool:
    return phonenumbers.number_type(phonenumbers.parse(e164)) in _MOBILE


def _is_access_code(text: str, region: str) -> bool:
    """Return whether a text without plus starts with its country's international access code.

    In few countries that is one prefix, such as 011. Elsewhere it counts only after 00, and if it
    is long enough or stands alone: 004 may be the start of 0049.
    """
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        return False
    digits = _NOT_DIGITS.sub("", text)
    only = (metadata.preferred_international_prefix or metadata.international_prefix or "").replace(
        "~", ""
    )
    if only.isdigit() and len(only) > len("00") and digits.startswith(only):
        return True
    found = re.match(metadata.international_prefix or "", digits)
    if found is None or not digits.startswith("00"):
        return False
    places = [place for place, one in enumerate(text) if one.isdigit()]
    suffix = places[found.end() - 1] + 1
    return found.end() > len("004") or not text[suffix : suffix + 1].isdigit()


def _reason(text: str, region: str | None) -> str:
    at_home = region is not None and not repairs.has_country_code(text)
    assumed = f" ({region} was assumed)" if at_home else ""
    try:
        number = phonenumbers.parse(text, None if repairs.is_international(text) else region)
    except phonenumbers.NumberParseException as problem:
        reason = _REASONS[problem.error_type]
        return reason if problem.error_type in _COUNTRY_INDEPENDENT else reason + assumed
    match phonenumbers.is_possible_number_with_reason(number):
        case phonenumbers.ValidationResult.IS_POSSIBLE:
            return f"no such number exists in its country{assumed}"
        case phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY if at_home:
            return f"without area code{assumed}"
        case _:
            return f"no number of its country has this length{assumed}"
