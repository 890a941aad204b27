"""What people write into a column of country codes: +44, 44.0, (+44), GB, UK, United Kingdom (+44)."""

import importlib
import re
from functools import cache, lru_cache

import phonenumbers
from phonenumbers import PhoneMetadata

from kith.contacts.words import plain

LONGEST_CELL = 100
NORTH_AMERICA = 1

_DIGITS = re.compile(r"[\s()]*(?:\+|00)?\s*(\d{1,3}(?:[\s()-]*\d{1,4})?)(?:[.,]0+)?(?!\d)[\s()]*")
_EDGES = " \t()[]-/,;:.'\""
#: What countries are called beside their names in CLDR, which libphonenumber carries.
_ALIASES = {
    **dict.fromkeys(
        ("uk", "u k", "great britain", "britain", "england", "scotland", "wales"), "GB"
    ),
    **dict.fromkeys(("gbr", "northern ireland", "grossbritannien", "großbritannien"), "GB"),
    **dict.fromkeys(("usa", "u s a", "u s", "united states of america", "america"), "US"),
    **dict.fromkeys(("el", "grc", "hellas"), "GR"),
    **dict.fromkeys(("uae", "are", "emirates"), "AE"),
    **dict.fromkeys(("russia", "rus", "russian federation"), "RU"),
    **dict.fromkeys(("korea", "south korea", "kor", "republic of korea"), "KR"),
    **dict.fromkeys(("czech republic", "czechia", "cze", "tschechien"), "CZ"),
    **dict.fromkeys(("holland", "the netherlands", "nld"), "NL"),
    **dict.fromkeys(("turkey", "turkiye", "tur"), "TR"),
    "deu": "DE",
    "ger": "DE",
    "aut": "AT",
    "che": "CH",
    "fra": "FR",
    "ita": "IT",
    "esp": "ES",
    "ind": "IN",
    "can": "CA",
    "aus": "AU",
    "nzl": "NZ",
    "irl": "IE",
    "bel": "BE",
    "pol": "PL",
    "prt": "PT",
    "swe": "SE",
    "nor": "NO",
    "dnk": "DK",
    "fin": "FI",
    "bra": "BR",
    "mex": "MX",
    "jpn": "JP",
    "chn": "CN",
    "zaf": "ZA",
    "brd": "DE",
    "hong kong": "HK",
    "viet nam": "VN",
}


@lru_cache(maxsize=1024)
def region_in(cell: str) -> str | None:
    """Return the ISO 3166 country that a cell names with a calling code, its letters or its name; None
    where it names none, or two.
    """
    text = cell.strip().strip("'").strip()
    if not text or len(text) > LONGEST_CELL:
        return None
    found = re.search(r"\d", text)
    if found is None:
        return _named(text)
    begin = re.search(r"[\s()]*(?:\+\s*|00\s*)?\d", text)
    code = _DIGITS.match(text, begin.start() if begin else 0)
    if code is None:
        return None
    rest = f"{text[: code.start()]} {text[code.end() :]}".strip(_EDGES)
    digits = re.sub(r"\D", "", code[1])
    by_code = _with_code(digits)
    if not rest or by_code is None:
        return by_code
    named = _named(rest)
    if named is None or digits.startswith(str(phonenumbers.country_code_for_region(named))):
        return named
    return None


def _with_code(digits: str) -> str | None:
    if digits.startswith(str(NORTH_AMERICA)) and len(digits) > 1:
        for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[NORTH_AMERICA]:
            metadata = PhoneMetadata.metadata_for_region(region)
            leading = metadata.leading_digits if metadata is not None else None
            if leading and re.fullmatch(leading, digits[1:]):
                return region
        return None
    region = phonenumbers.region_code_for_country_code(int(digits)) if len(digits) < 4 else ""
    return region if region in phonenumbers.SUPPORTED_REGIONS else None


def _named(text: str) -> str | None:
    text = text.strip(_EDGES)
    letters = text.upper()
    if letters in phonenumbers.SUPPORTED_REGIONS:
        return letters
    name = plain(text.replace(".", " "))
    return _ALIASES.get(name) or (_by_name().get(name) if len(name) > 3 else None)


@cache
def _by_name() -> dict[str, str]:
    """Return the countries by their names in all languages, without those of two countries."""
    # Only here: the names come with the names of all cities, and few tables need them.
    names = importlib.import_module("phonenumbers.geodata.locale").LOCALE_DATA
    found, doubtful = dict[str, str](), set[str]()
    for region in phonenumbers.SUPPORTED_REGIONS:
        for name in map(plain, names.get(region, {}).values()):
            if found.setdefault(name, region) != region:
                doubtful.add(name)
    return {name: region for name, region in found.items() if name not in doubtful}
