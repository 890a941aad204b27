"""Own the way from a number as written to E.164, leniently: a possible number counts, an extension
is dropped.
"""

import re

import phonenumbers

LONGEST_NUMBER = 250

_SHORTENED_BY_EXCEL = re.compile(r"\d(?:[.,]\d+)?E\+?\d+", re.IGNORECASE)
_REASONS = {
    phonenumbers.NumberParseException.INVALID_COUNTRY_CODE: "without a known country code",
    phonenumbers.NumberParseException.NOT_A_NUMBER: "not a phone number",
    phonenumbers.NumberParseException.TOO_SHORT_AFTER_IDD: "too short",
    phonenumbers.NumberParseException.TOO_SHORT_NSN: "too short",
    phonenumbers.NumberParseException.TOO_LONG: "too long",
}


class NumberUnreadable(ValueError):
    """Report a text that cannot be made an E.164 number; the message says why and does not repeat
    it.
    """


def normalise(text: str, region: str | None) -> str:
    """Return `text` as E.164, such as "+4915112345678".

    region: ISO 3166 country whose numbers may lack their country code, or None. Raise
    NumberUnreadable.
    """
    if _SHORTENED_BY_EXCEL.fullmatch(text.strip()):
        raise NumberUnreadable("a spreadsheet has shortened it; its last digits are lost")
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException as problem:
        raise NumberUnreadable(_REASONS[problem.error_type]) from None
    if not phonenumbers.is_possible_number(number):
        raise NumberUnreadable("no number of its country has this length")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def region_of(e164: str) -> str | None:
    """Return the ISO 3166 country of an E.164 number, or None when it has none."""
    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return None
    region = phonenumbers.region_code_for_number(number)
    if region is None:
        region = phonenumbers.region_code_for_country_code(number.country_code or 0)
    return region if region in phonenumbers.SUPPORTED_REGIONS else None


def is_region(region: str) -> bool:
    """Return whether `region`, in capitals, is a country that numbers are known for."""
    return region in phonenumbers.SUPPORTED_REGIONS
