"""What the columns of a contact table mean, told by the words above them (`words`)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kith.contacts import words
from kith.contacts.found import one_line
from kith.contacts.looks import looks_like_number

#: Words of a column's name that do not tell its phone from another one.
_ANY_PHONE = frozenset({"phone", "telephone", "tel", "telefon", "telefono", "number", "no", "nr"})
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Columns:
    """Where to look in a row.

    names: what stands above the columns. phones: columns of numbers. about: columns that speak of
    phones and may hold something else. other: columns of other numbers. countries: columns with
    the country of phones, and for each what else its name says. areas: columns with the area code of
    the phone beside them.
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
        """Return the row's name: the full one, else its parts, else the organization, else ""."""
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
        """Return the column with the country of a column's phones: the one that is named like it, else
        the one for all, of several the last before it; None without one.
        """
        name = words.plain(self.names[column]) if column < len(self.names) else ""
        known = set(_WORD.findall(name))
        own = [code for code, said in self.countries.items() if said and said <= known]
        if own:
            return min(own, key=lambda code: abs(code - column))
        common = [code for code in self.countries if self._is_for_all(code)]
        before = [code for code in common if code < column]
        return max(before) if before else min(common, default=None)

    def _is_for_all(self, code: int) -> bool:
        """Return whether no column has the name that a column of country codes is for."""
        said = self.countries[code]
        return not said or not any(
            said <= set(_WORD.findall(words.plain(name)))
            for index, name in enumerate(self.names)
            if index not in self.countries
        )

    def area_of(self, column: int) -> int | None:
        """Return the column with the area code of a column's phones: the one beside it."""
        return next((area for area in (column - 1, column + 1) if area in self.areas), None)

    @property
    def known(self) -> int:
        """How many columns have a name that means something here."""
        names = {*self.full_name, *self.name_parts, *self.organization}
        return len({*self.phones, *self.about, *names})


def columns_of(header: Sequence[str]) -> Columns:
    """Return what the header row says about the columns."""
    known = [words.plain(cell) for cell in header]
    said = {index: words.country_code_of(word) for index, word in enumerate(known)}
    countries = {
        index: frozenset(_WORD.findall(rest)) - _ANY_PHONE
        for index, rest in said.items()
        if rest is not None
    }
    areas = [
        index
        for index, word in enumerate(known)
        if words.is_area_code(word) and index not in countries
    ]
    phones = [index for index, word in enumerate(known) if words.is_phone(word)]
    about = [index for index in phones if words.is_about_a_phone(known[index])]
    return Columns(
        names=tuple(one_line(cell) for cell in header),
        phones=tuple(index for index in phones if index not in about),
        about=tuple(about),
        other=tuple(index for index, word in enumerate(known) if words.is_other(word)),
        countries=countries,
        areas=tuple(areas),
        full_name=_among(known, words.FULL),
        name_parts=(
            *_among(known, words.GIVEN),
            *_among(known, words.MIDDLE),
            *_among(known, words.FAMILY),
        ),
        organization=_among(known, words.ORGANIZATION),
    )


def _among(known: Sequence[str], names: frozenset[str]) -> tuple[int, ...]:
    return tuple(index for index, word in enumerate(known) if word in names)
