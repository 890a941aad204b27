"""Numbering plans: which numbers can exist, and numbers without their country or area code.

`phonenumbers.is_valid_number` tries ten patterns for each number. Here the patterns of one calling code
and length are one, compiled when the first such number is seen.

Mexico dropped the 1 after +52 in 2019 and its prefixes 01, 044 and 045 with it; Argentina writes a 9
before mobile numbers that are called from abroad; Brazil gave its mobile numbers a ninth digit.
"""

import re
from functools import cache, lru_cache

import phonenumbers
from phonenumbers import PhoneMetadata

_KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
)

Rule = tuple[re.Pattern[str] | None, re.Pattern[str] | None]


def split_calling_code(digits: str) -> tuple[int, str] | None:
    """Return the calling code and the national number of E.164 digits, None without a known code."""
    for size in (1, 2, 3):
        code = digits[:size]
        if code.isdecimal() and int(code) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return int(code), digits[size:]
    return None


def is_valid(code: int, national: str) -> bool:
    """Return whether a number can exist, exactly as `phonenumbers.is_valid_number` does.

    code: calling code, such as 49. national: the digits after it, without a national prefix.
    """
    for leading, pattern in _rules(code, len(national)):
        if leading is None:
            if pattern is not None and pattern.fullmatch(national):
                return True
        elif leading.match(national):
            return pattern is not None and pattern.fullmatch(national) is not None
    return False


def may_start_with_prefix(code: int, national: str) -> bool:
    """Return whether the digits after a calling code may start with the national prefix."""
    prefix = _national_prefix(code)
    return prefix is not None and prefix.match(national) is not None


def national_at_home(region: str, digits: str) -> tuple[int, str] | None:
    """Return calling code and national number of digits dialled within a country; None if
    ambiguous, where the digits may start with something other than the trunk prefix.
    """
    code, elsewhere, prefix, literal = _dialling(region)
    if elsewhere.match(digits):
        return None
    if prefix is None or not prefix.match(digits):
        return code, digits
    national = digits.removeprefix(literal) if literal else ""
    return (code, national) if national and not prefix.match(national) else None


@cache
def _dialling(region: str) -> tuple[int, re.Pattern[str], re.Pattern[str] | None, str]:
    """Return a region's calling code, the pattern of numbers that start with an international
    prefix or the code, the national prefix, and that prefix as a text if it is one.
    """
    metadata = PhoneMetadata.metadata_for_region(region)
    code = phonenumbers.country_code_for_region(region)
    abroad = metadata.international_prefix if metadata is not None else None
    prefix = metadata.national_prefix_for_parsing if metadata is not None else None
    literal = prefix if prefix and prefix.isdigit() else ""
    return (
        code,
        re.compile(rf"{code}|(?:{abroad})" if abroad else str(code)),
        re.compile(prefix) if prefix else None,
        literal or "",
    )


@cache
def _rules(code: int, length: int) -> tuple[Rule, ...]:
    """Return leading digits and number pattern of a length, region by region in libphonenumber's
    order.
    """
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    rules = list[Rule]()
    for region in regions:
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        if metadata is not None:
            # A region with a code of its own needs no leading digits.
            leading = metadata.leading_digits if len(regions) > 1 else None
            rules.append((re.compile(leading) if leading else None, _pattern(metadata, length)))
    return tuple(rules)


def _pattern(metadata: PhoneMetadata, length: int) -> re.Pattern[str] | None:
    everything = _of_length(metadata.general_desc, length)
    kinds = [_of_length(getattr(metadata, kind), length) for kind in _KINDS]
    known = [f"(?:{kind})" for kind in kinds if kind is not None]
    if everything is None or not known:
        return None
    return re.compile(rf"(?=(?:{everything})\Z)(?:{'|'.join(known)})")


def _of_length(description: phonenumbers.PhoneNumberDesc | None, length: int) -> str | None:
    if description is None or description.national_number_pattern is None:
        return None
    lengths = description.possible_length
    return None if lengths and length not in lengths else description.national_number_pattern


@cache
def _national_prefix(code: int) -> re.Pattern[str] | None:
    region = phonenumbers.region_code_for_country_code(code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    prefix = metadata.national_prefix_for_parsing if metadata is not None else None
    return re.compile(prefix) if prefix else None


MEXICO, ARGENTINA, BRAZIL = 52, 54, 55
#: Calling codes whose numbers may have two forms.
TWO_FORMS = frozenset({MEXICO, ARGENTINA, BRAZIL})

_MEXICAN_PREFIX = re.compile(r"(?:01|02|044|045|1)(?=\d{10}\Z)")
_MIN_LOCAL_DIGITS, _MAX_LOCAL_DIGITS = (5, 11)  # without area code; 15 may come first


def national_forms(code: int, national: str) -> tuple[str, ...]:
    """Return the valid national numbers that a number may stand for: none, one, or two.

    code: calling code. national: the digits after it.
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


def complete_with_area_code(digits: str, region: str, own_number: str | None) -> tuple[str, ...]:
    """Return the E.164 numbers of local digits in the area of one's own number, mostly none.

    A mobile number has no area code in most countries.
    """
    if own_number is None or not _MIN_LOCAL_DIGITS <= len(digits) <= _MAX_LOCAL_DIGITS:
        return ()
    own = _parsed(own_number)
    if own is None or own.country_code != phonenumbers.country_code_for_region(region):
        return ()
    code = own.country_code or 0
    area = _area_code(own)
    if not area or _is_short_number(digits, region):
        return ()
    try:
        # Parsed, because a prefix such as Argentina's 15 may follow the area code.
        local = phonenumbers.parse(f"+{code}{area}{digits}")
    except phonenumbers.NumberParseException:
        return ()
    national = phonenumbers.national_significant_number(local)
    return tuple(f"+{code}{form}" for form in national_forms(code, national))


def in_own_area(digits: str, region: str, own_number: str) -> tuple[str, ...]:
    """Return the number of digits without a trunk prefix in one's own area, if it is valid."""
    own = _own_area(own_number)
    if own is None or own[0] != phonenumbers.country_code_for_region(region):
        return ()
    code, area = own
    trunk = digits.startswith(("+", "0")) or may_start_with_prefix(code, digits)
    if trunk or not is_valid(code, area + digits) or _is_short_number(digits, region):
        return ()
    return (f"+{code}{area}{digits}",)


@lru_cache(maxsize=16)
def _own_area(own_number: str) -> tuple[int, str] | None:
    own = _parsed(own_number)
    area = _area_code(own) if own is not None else ""
    return (own.country_code or 0, area) if own is not None and area else None


def _area_code(own: phonenumbers.PhoneNumber) -> str:
    national = phonenumbers.national_significant_number(own)
    area = national[: phonenumbers.length_of_geographical_area_code(own)]
    token = phonenumbers.country_mobile_token(own.country_code or 0)
    return area.removeprefix(token) if token else area


def _is_short_number(digits: str, region: str) -> bool:
    """Return whether digits are an emergency or service number."""
    code = phonenumbers.country_code_for_region(region)
    number = phonenumbers.PhoneNumber(country_code=code, national_number=int(digits))
    return phonenumbers.is_possible_short_number_for_region(number, region) and (
        phonenumbers.is_valid_short_number_for_region(number, region)
    )


def _parsed(e164: str) -> phonenumbers.PhoneNumber | None:
    parts = split_calling_code(e164.removeprefix("+"))
    if parts is None or not parts[1].isdecimal() or len(parts[1]) > 15:
        return None
    try:
        return phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return None
