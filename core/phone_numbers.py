"""Phone numbers: parsed, judged and masked; everything that libphonenumber knows is asked here.

Owns the one way from what a person typed to E.164. Refuses numbers no text should be paid for.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from core.problems import Problem

LONGEST_INPUT = 64
#: Every region a number can be from: ISO 3166 codes, and "001" for those of no country.
REGIONS = frozenset(phonenumbers.SUPPORTED_REGIONS) | {"001"}


def known_region(code: str) -> str:
    """Give back a region of numbers; raises ValueError for one that does not exist, such as UK."""
    if code not in REGIONS:
        raise ValueError(f"there is no country {code}; use ISO 3166 codes like DE")
    return code


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
    """The number exists, but is of a kind that this service does not send to."""

    code, status, title = "phone-number-refused", 422, "This kind of number is not accepted"


@dataclass(frozen=True)
class PhoneNumber:
    """A valid number: `e164` with its plus, ISO 3166 `region` (or "001"), kind of number."""

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
        """Parse what a person typed; `region` is where a number without country code is from.

        Raises PhoneNumberInvalid with the reason.
        """
        if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
            raise PhoneNumberInvalid(f"There is no region {region}; use an ISO 3166 code like DE.")
        try:
            parsed = phonenumbers.parse(text, region)
        except NumberParseException as error:
            raise PhoneNumberInvalid(cls._reasons[error.error_type]) from None
        if not phonenumbers.is_valid_number(parsed):
            raise PhoneNumberInvalid(_why_not(parsed))
        return cls(
            phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164),
            phonenumbers.region_code_for_number(parsed) or "001",
            TYPE_NAMES[phonenumbers.number_type(parsed)],
        )


def e164_of(text: str, region: str | None) -> str | None:
    """Give the E.164 form of what a person typed, whether or not such a number can exist."""
    try:
        parsed = phonenumbers.parse(text, region)
    except NumberParseException:
        digits = phonenumbers.normalize_digits_only(text)
        return f"+{digits}" if re.match(r"\s*[+＋]", text) and digits else None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _why_not(parsed: phonenumbers.PhoneNumber) -> str:
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
    """Give a number without its last four digits, the range that carriers and thieves trade in."""
    return e164[:-4]


def mask(e164: str) -> str:
    """Show enough of a number to recognise it, and no more: `+49151•••789`."""
    return f"{e164[:6]}•••{e164[-3:]}" if len(e164) > 10 else f"{e164[:3]}•••"
