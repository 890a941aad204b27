"""What the columns of a contact table mean, told by the words above them (`words`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import phonenumbers

from kith.contacts import words
from kith.contacts.found import one_line

_COUNTRY_CODE = ("country code", "dial code", "dialing code", "dialling code", "calling code")


@dataclass(frozen=True)
class Columns:
    """Where to look in a row.

    names: what stands above the columns. phones: columns of numbers. about: columns that speak of
    phones and may hold something else. other: columns of other numbers. country_code: the column
    with the country of the row's phones.
    """

    names: tuple[str, ...] = ()
    phones: tuple[int, ...] = ()
    about: tuple[int, ...] = ()
    other: tuple[int, ...] = ()
    country_code: int | None = None
    full_name: tuple[int, ...] = ()
    name_parts: tuple[int, ...] = ()
    organization: tuple[int, ...] = ()

    def name(self, row: Sequence[str]) -> str:
        """Return the row's name: the full one, else its parts, else the organization, else ""."""
        for columns in (self.full_name[:1], self.name_parts, self.organization[:1]):
            name = one_line(" ".join(row[column] for column in columns if column < len(row)))
            if name:
                return name
        return ""

    @property
    def known(self) -> int:
        """How many columns have a name that means something here."""
        names = {*self.full_name, *self.name_parts, *self.organization}
        return len({*self.phones, *self.about, *names})


def columns_of(header: Sequence[str]) -> Columns:
    """Return what the header row says about the columns."""
    known = [words.plain(cell) for cell in header]
    phones = [index for index, word in enumerate(known) if words.is_phone(word)]
    about = [index for index in phones if words.is_about_a_phone(known[index])]
    codes = [index for index in about if any(word in known[index] for word in _COUNTRY_CODE)]
    return Columns(
        names=tuple(one_line(cell) for cell in header),
        phones=tuple(index for index in phones if index not in about),
        about=tuple(about),
        other=tuple(index for index, word in enumerate(known) if words.is_other(word)),
        country_code=codes[0] if len(codes) == 1 else None,
        full_name=_among(known, words.FULL),
        name_parts=(
            *_among(known, words.GIVEN),
            *_among(known, words.MIDDLE),
            *_among(known, words.FAMILY),
        ),
        organization=_among(known, words.ORGANIZATION),
    )


def region_in(cell: str) -> str | None:
    """Return the ISO 3166 country that a country code or the letters of a country name."""
    text = cell.strip().strip("'").removeprefix("+").removeprefix("00").upper()
    if text in phonenumbers.SUPPORTED_REGIONS:
        return text
    if not text.isdecimal() or len(text) > 3:
        return None
    region = phonenumbers.region_code_for_country_code(int(text))
    return region if region in phonenumbers.SUPPORTED_REGIONS else None


def _among(known: Sequence[str], names: frozenset[str]) -> tuple[int, ...]:
    return tuple(index for index, word in enumerate(known) if word in names)
