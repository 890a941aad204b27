"""Which E.164 numbers can exist: libphonenumber's own rules, compiled for asking about millions.

`phonenumbers.is_valid_number` walks over ten patterns for each number. Here those of one calling code
and one length are one pattern, compiled when the first such number comes.
"""

import re
from functools import cache

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


def split(digits: str) -> tuple[int, str] | None:
    """Return the calling code and the national number of E.164 digits, None without a known code."""
    for size in (1, 2, 3):
        code = digits[:size]
        if code.isdecimal() and int(code) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return int(code), digits[size:]
    return None


def is_valid(code: int, national: str) -> bool:
    """Return whether such a number can exist, exactly as `phonenumbers.is_valid_number` says.

    code: calling code, such as 49. national: digits behind it, without a national prefix.
    """
    for leading, pattern in _rules(code, len(national)):
        if leading is None:
            if pattern is not None and pattern.fullmatch(national):
                return True
        elif leading.match(national):
            return pattern is not None and pattern.fullmatch(national) is not None
    return False


def may_hold_prefix(code: int, national: str) -> bool:
    """Return whether digits behind a calling code may begin with the country's national prefix."""
    prefix = _national_prefix(code)
    return prefix is not None and prefix.match(national) is not None


def national_at_home(region: str, digits: str) -> tuple[int, str] | None:
    """Return calling code and national number of digits that are dialled in their own country, None
    where that needs more thought: what they begin with may be something else than the trunk prefix.
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
    """Return the calling code of a region, what begins a number of elsewhere or with the code, the
    national prefix, and the same as a text where it is one.
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
    """Return, region by region in libphonenumber's order, leading digits and numbers of a length."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    rules = list[Rule]()
    for region in regions:
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        if metadata is not None:
            # A region that has its code for itself needs no leading digits to be told.
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
