"""Numbers that a country writes in two ways, and numbers without their area code.

Mexico dropped the 1 behind +52 in 2019 and its prefixes 01, 044 and 045 with it; Argentina writes a 9
before mobile numbers that are called from abroad; Brazil gave its mobile numbers a ninth digit.
"""

import re
from functools import lru_cache

import phonenumbers

from kith.contacts.validity import is_valid, may_hold_prefix, split

MEXICO, ARGENTINA, BRAZIL = 52, 54, 55
#: Calling codes whose numbers may have another form than the one that is written.
TWO_FORMS = frozenset({MEXICO, ARGENTINA, BRAZIL})

_MEXICAN_PREFIX = re.compile(r"(?:01|02|044|045|1)(?=\d{10}\Z)")
_FEWEST_LOCAL, _MOST_LOCAL = (
    5,
    11,
)  # digits of a number that lacks its area code; 15 may be before it


def forms(code: int, national: str) -> tuple[str, ...]:
    """Return the national numbers, all valid, that a number may have: none, one, or two.

    code: calling code. national: digits behind it.
    """
    if code == MEXICO:
        national = _MEXICAN_PREFIX.sub("", national)
    found = [national]
    if code == ARGENTINA:
        found.append(national[1:] if national.startswith("9") else f"9{national}")
    elif code == BRAZIL and len(national) == 10 and national[2] in "6789":
        found.insert(0, f"{national[:2]}9{national[2:]}")
    elif national.startswith("0"):
        # A trunk zero that is not dialled from abroad; where it is, the number is valid with it.
        found.append(national.lstrip("0"))
        return tuple(one for one in found if is_valid(code, one))[:1]
    return tuple(one for one in found if is_valid(code, one))


def with_area_code(digits: str, region: str, own_number: str | None) -> tuple[str, ...]:
    """Return the E.164 numbers that local digits are beside one's own number, mostly none.

    A mobile number has no area code in most countries, and tells nothing then.
    """
    if own_number is None or not _FEWEST_LOCAL <= len(digits) <= _MOST_LOCAL:
        return ()
    own = _parsed(own_number)
    if own is None or own.country_code != phonenumbers.country_code_for_region(region):
        return ()
    code = own.country_code or 0
    area = _area_code(own)
    if not area or _is_short_number(digits, region):
        return ()
    try:
        # Parsed, not put together: between area code and number there may be a prefix, as Argentina's 15.
        local = phonenumbers.parse(f"+{code}{area}{digits}")
    except phonenumbers.NumberParseException:
        return ()
    national = phonenumbers.national_significant_number(local)
    return tuple(f"+{code}{form}" for form in forms(code, national))


def beside_own_number(digits: str, region: str, own_number: str) -> tuple[str, ...]:
    """Return the number that digits without a trunk prefix are in one's own area, none where there is no
    such number.
    """
    own = _code_and_area(own_number)
    if own is None or own[0] != phonenumbers.country_code_for_region(region):
        return ()
    code, area = own
    trunk = digits.startswith(("+", "0")) or may_hold_prefix(code, digits)
    if trunk or not is_valid(code, area + digits) or _is_short_number(digits, region):
        return ()
    return (f"+{code}{area}{digits}",)


@lru_cache(maxsize=16)
def _code_and_area(own_number: str) -> tuple[int, str] | None:
    own = _parsed(own_number)
    area = _area_code(own) if own is not None else ""
    return (own.country_code or 0, area) if own is not None and area else None


def _area_code(own: phonenumbers.PhoneNumber) -> str:
    national = phonenumbers.national_significant_number(own)
    area = national[: phonenumbers.length_of_geographical_area_code(own)]
    token = phonenumbers.country_mobile_token(own.country_code or 0)
    return area.removeprefix(token) if token else area


def _is_short_number(digits: str, region: str) -> bool:
    """Return whether digits are dialled as they are, as emergency and service numbers are."""
    code = phonenumbers.country_code_for_region(region)
    number = phonenumbers.PhoneNumber(country_code=code, national_number=int(digits))
    return phonenumbers.is_possible_short_number_for_region(number, region) and (
        phonenumbers.is_valid_short_number_for_region(number, region)
    )


def _parsed(e164: str) -> phonenumbers.PhoneNumber | None:
    parts = split(e164.removeprefix("+"))
    if parts is None or not parts[1].isdecimal() or len(parts[1]) > 15:
        return None
    try:
        return phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return None
