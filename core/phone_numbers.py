"""Phone numbers: validates them, explains invalid ones, and masks them.

core/typed_numbers.py decides what a typed text means.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from core.problems import Problem
from core.typed_numbers import (
    e164_of,
    has_hidden_digits,
    is_shortened,
    read_number,
    read_region,
    why_unreadable,
)
from core.typed_text import visible

#: Every region of numbers: ISO 3166 codes, and "001" for numbers of no country.
REGIONS = frozenset(phonenumbers.SUPPORTED_REGIONS) | {"001"}


def known_region(code: str) -> str:
    """Return the ISO 3166 code of a region. Raises ValueError if it does not exist."""
    region = read_region(code)
    if region not in REGIONS:
        raise ValueError(f"there is no country {code}; use ISO 3166 codes like DE")
    return region


NumberType = Literal[
    "fixed_line",
    "mobile",
    "fixed_line_or_mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "unknown",
]

TYPE_NAMES: dict[int, str] = {
    PhoneNumberType.FIXED_LINE: "fixed_line",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_line_or_mobile",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.PREMIUM_RATE: "premium_rate",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.PERSONAL_NUMBER: "personal_number",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "uan",
    PhoneNumberType.VOICEMAIL: "voicemail",
    PhoneNumberType.UNKNOWN: "unknown",
}


class PhoneNumberInvalid(Problem):
    """The number cannot be parsed, or no such number can exist."""

    code, status, title = "phone-number-invalid", 422, "This is not a valid phone number"


class PhoneNumberRefused(Problem):
    """The number is valid, but this service does not send to its kind."""

    code, status, title = "phone-number-refused", 422, "This kind of number is not accepted"


@dataclass(frozen=True)
class PhoneNumber:
    """A valid number: `e164` with its plus, ISO 3166 `region` (or "001") and `kind`."""

    e164: str
    region: str
    kind: str

    _reasons: ClassVar[dict[int, str]] = {
        NumberParseException.INVALID_COUNTRY_CODE: (
            "Its country code is missing or unknown; write the number with + and country code,"
            " or name the region."
        ),
        NumberParseException.NOT_A_NUMBER: "It does not look like a phone number.",
        NumberParseException.TOO_SHORT_AFTER_IDD: "It ends after the international prefix.",
        NumberParseException.TOO_SHORT_NSN: "It is too short.",
        NumberParseException.TOO_LONG: "It is too long.",
    }

    @classmethod
    def parse(cls, text: str, region: str | None = None) -> "PhoneNumber":
        """Parse what a person typed; `region` is the country of a number without country code.

        Raises PhoneNumberInvalid with the reason.
        """
        region = read_region(region) if region else None
        parsed = read_number(text, region)
        if parsed is None:
            raise PhoneNumberInvalid(cls._why_not(text, region))
        return cls(
            e164_of(parsed),
            phonenumbers.region_code_for_number(parsed) or "001",
            TYPE_NAMES[phonenumbers.number_type(parsed)],
        )

    @classmethod
    def _why_not(cls, text: str, region: str | None) -> str:
        if is_shortened(text):
            return "A spreadsheet has shortened it; its last digits are lost."
        if has_hidden_digits(text):
            return "Some of its digits are hidden; write all of them."
        if not visible(text):
            return "Enter a phone number."
        found = why_unreadable(text, region)
        if isinstance(found, phonenumbers.PhoneNumber):
            return _why_invalid(found)
        if (
            found.error_type == NumberParseException.INVALID_COUNTRY_CODE
            and region
            and region not in phonenumbers.SUPPORTED_REGIONS
        ):
            return f"There is no region {region}; use an ISO 3166 code like DE."
        return cls._reasons[found.error_type]


def _why_invalid(parsed: phonenumbers.PhoneNumber) -> str:
    if phonenumbers.is_valid_number(parsed):
        # The text has digits or letters that may not belong to the number.
        return "It is not clear where the number begins or ends; write nothing else beside it."
    match phonenumbers.is_possible_number_with_reason(parsed):
        case phonenumbers.ValidationResult.TOO_SHORT:
            return "It is too short for its country."
        case phonenumbers.ValidationResult.TOO_LONG:
            return "It is too long for its country."
        case phonenumbers.ValidationResult.INVALID_COUNTRY_CODE:
            return "Its country code does not exist."
        case _:
            return "No such number exists in its country."


def prefix_of(e164: str) -> str:
    """Return a number without its last four digits: the range that carriers and fraudsters trade in."""
    return e164[:-4]


def mask(e164: str) -> str:
    """Return just enough of a number to recognise it: `+49151•••789`."""
    return f"{e164[:6]}•••{e164[-3:]}" if len(e164) > 10 else f"{e164[:3]}•••"
