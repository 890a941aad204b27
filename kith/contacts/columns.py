"""The meaning of a table's columns, from their names, and of the cells of country columns, such as +44,
44.0, (+44), GB, UK, United Kingdom (+44).
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

import phonenumbers
from phonenumbers import PhoneMetadata

from kith.contacts import vocabulary
from kith.contacts.contact import looks_like_number, one_line
from kith.contacts.vocabulary import normalize_name

#: Words of a column's name that do not distinguish its phone from others.
_ANY_PHONE = frozenset({"phone", "telephone", "tel", "telefon", "telefono", "number", "no", "nr"})
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Columns:
    """The columns of a table by their meaning, as indexes.

    names: the header. phones: phone numbers. about: columns named after phones that may hold
    something else. other: other numbers. countries: countries of phones, with the words that limit
    each to certain phones. areas: area codes of the phone beside them.
    """

    names: tuple[str, ...] = ()
    phones: tuple[int, ...] = ()
    about: tuple[int, ...] = ()
    other: tuple[int, ...] = ()
    countries: Mapping[int, frozenset[str]] = field(default_factory=dict)
    areas: tuple[int, ...] = ()
    full_name: tuple[int, ...] = ()
    name_parts: tuple[int, ...] = ()
    organization: tuple[int, ...] = ()

    def name(self, row: Sequence[str]) -> str:
        """Return the row's name: the full name, else its parts, else the organization, else ""."""
        number = ""
        for columns in (
            *((column,) for column in self.full_name),
            self.name_parts,
            self.organization[:1],
        ):
            cells = [row[column] for column in columns if column < len(row)]
            name = one_line(" ".join(cell for cell in cells if not looks_like_number(cell)))
            if name:
                return name
            number = number or one_line(" ".join(cells))
        return number

    def country_of(self, column: int) -> int | None:
        """Return the country column of a phone column: the one with a matching name, else the
        shared one, of several the last before it; None without one.
        """
        name = vocabulary.normalize_name(self.names[column]) if column < len(self.names) else ""
        known = set(_WORD.findall(name))
        own = [code for code, said in self.countries.items() if said and said <= known]
        if own:
            return min(own, key=lambda code: abs(code - column))
        common = [code for code in self.countries if self._is_for_all(code)]
        before = [code for code in common if code < column]
        return max(before) if before else min(common, default=None)

    def _is_for_all(self, code: int) -> bool:
        """Return whether no column has the name that a country column is limited to."""
        said = self.countries[code]
        return not said or not any(
            said <= set(_WORD.findall(vocabulary.normalize_name(name)))
            for index, name in enumerate(self.names)
            if index not in self.countries
        )

    def area_of(self, column: int) -> int | None:
        """Return the area code column beside a phone column, None without one."""
        return next((area for area in (column - 1, column + 1) if area in self.areas), None)

    @property
    def known(self) -> int:
        """The number of columns with a known name."""
        names = {*self.full_name, *self.name_parts, *self.organization}
        return len({*self.phones, *self.about, *names})


def parse_header(header: Sequence[str]) -> Columns:
    """Return the meaning of a header row."""
    known = [vocabulary.normalize_name(cell) for cell in header]
    said = {index: vocabulary.country_code_of(word) for index, word in enumerate(known)}
    countries = {
        index: frozenset(_WORD.findall(rest)) - _ANY_PHONE
        for index, rest in said.items()
        if rest is not None
    }
    areas = [
        index
        for index, word in enumerate(known)
        if vocabulary.is_area_code(word) and index not in countries
    ]
    phones = [index for index, word in enumerate(known) if vocabulary.is_phone(word)]
    about = [index for index in phones if vocabulary.is_about_a_phone(known[index])]
    return Columns(
        names=tuple(one_line(cell) for cell in header),
        phones=tuple(index for index in phones if index not in about),
        about=tuple(about),
        other=tuple(index for index, word in enumerate(known) if vocabulary.is_other(word)),
        countries=countries,
        areas=tuple(areas),
        full_name=_among(known, vocabulary.FULL),
        name_parts=(
            *_among(known, vocabulary.GIVEN),
            *_among(known, vocabulary.MIDDLE),
            *_among(known, vocabulary.FAMILY),
        ),
        organization=_among(known, vocabulary.ORGANIZATION),
    )


def _among(known: Sequence[str], names: frozenset[str]) -> tuple[int, ...]:
    return tuple(index for index, word in enumerate(known) if word in names)


MAX_CELL_CHARACTERS = 100
NORTH_AMERICA = 1

_DIGITS = re.compile(r"[\s()]*(?:\+|00)?\s*(\d{1,3}(?:[\s()-]*\d{1,4})?)(?:[.,]0+)?(?!\d)[\s()]*")
_EDGES = " \t()[]-/,;:.'\""
#: Names of countries in addition to CLDR, which libphonenumber has.
_ALIAS_TABLE = """
    GB: uk, u k, great britain, britain, england, scotland;
    GB: wales, gbr, northern ireland, grossbritannien, großbritannien;
    US: usa, u s a, u s, united states of america, america; GR: el, grc, hellas;
    AE: uae, are, emirates; RU: russia, rus, russian federation;
    KR: korea, south korea, kor, republic of korea;
    CZ: czech republic, czechia, cze, tschechien; NL: holland, the netherlands, nld;
    TR: turkey, turkiye, tur; DE: deu, ger, brd; AT: aut; CH: che; FR: fra; IT: ita; ES: esp;
    IN: ind; CA: can; AU: aus; NZ: nzl; IE: irl; BE: bel; PL: pol; PT: prt; SE: swe; NO: nor;
    DK: dnk; FI: fin; BR: bra; MX: mex; JP: jpn; CN: chn; ZA: zaf; HK: hong kong; VN: viet nam
"""
_ALIASES = {
    alias.strip(): region.strip()
    for region, _, aliases in (entry.partition(":") for entry in _ALIAS_TABLE.split(";"))
    for alias in aliases.split(",")
}


@lru_cache(maxsize=1024)
def parse_country(cell: str) -> str | None:
    """Return the ISO 3166 country that a cell names by calling code, letters or name; None for none
    or several.
    """
    text = cell.strip().strip("'").strip()
    if not text or len(text) > MAX_CELL_CHARACTERS:
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
    name = normalize_name(text.replace(".", " "))
    return _ALIASES.get(name) or (_by_name().get(name) if len(name) > 3 else None)


@cache
def _by_name() -> dict[str, str]:
    """Return countries by their names in all languages, without ambiguous names."""
    # Imported here: the names come with those of all cities, and few tables need them.
    names = importlib.import_module("phonenumbers.geodata.locale").LOCALE_DATA
    found, doubtful = dict[str, str](), set[str]()
    for region in phonenumbers.SUPPORTED_REGIONS:
        for name in map(normalize_name, names.get(region, {}).values()):
            if found.setdefault(name, region) != region:
                doubtful.add(name)
    return {name: region for name, region in found.items() if name not in doubtful}
