"""Own what the columns of a contact table mean, told by the words that Google, Outlook and Apple
put above them.

English, German, Spanish and French are known; a table in another language is read by how its cells
look.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from kith.contacts.found import one_line

_PHONE = re.compile(
    r"phone|mobil|movil|handy|\btel(?!egram)|telefon|\bcell|celular|portable|rufnummer|\bfax"
    r"|pager|whatsapp|\bisdn\b|callback|ruckruf"
)
_PERHAPS_PHONE = re.compile(r"number|nummer|numero|\bnr\b")
_NOT_PHONE = re.compile(
    r"phonetic|\b(type|typ|tipo|label|etiqueta|libelle)\b|e-?mail|correo|courriel"
)
_FULL = frozenset(
    [
        "name",
        "full name",
        "fullname",
        "display name",
        "file as",
        "contact",
        "contact name",
        "fn",
        "kontakt",
        "anzeigename",
        "vollstandiger name",
        "speichern unter",
        "nombre completo",
        "nom complet",
        "nom affiche",
    ]
)
_GIVEN = frozenset(
    ["first name", "firstname", "given name", "first", "vorname", "nombre", "prenom"]
)
_MIDDLE = frozenset(
    ["middle name", "additional name", "weitere vornamen", "segundo nombre", "deuxieme prenom"]
)
_FAMILY = frozenset(
    [
        "last name",
        "lastname",
        "family name",
        "surname",
        "last",
        "nachname",
        "familienname",
        "apellido",
        "apellidos",
        "nom",
        "nom de famille",
    ]
)
_ORGANIZATION = frozenset(
    [
        "organization",
        "organisation",
        "organization name",
        "organization 1 - name",
        "company",
        "company name",
        "firma",
        "empresa",
        "societe",
        "entreprise",
    ]
)


@dataclass(frozen=True)
class Columns:
    """Where to look in a row; `phones` are columns of numbers, `perhaps` those that may hold other
    numbers too.
    """

    phones: tuple[int, ...] = ()
    perhaps: tuple[int, ...] = ()
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


def columns_of(header: Sequence[str]) -> Columns:
    """Return what the header row says about the columns."""
    words = [_plain(cell) for cell in header]
    phones = [
        index
        for index, word in enumerate(words)
        if _PHONE.search(word) and not _NOT_PHONE.search(word)
    ]
    return Columns(
        phones=tuple(phones),
        perhaps=tuple(
            index
            for index, word in enumerate(words)
            if _PERHAPS_PHONE.search(word) and not _NOT_PHONE.search(word) and index not in phones
        ),
        full_name=_among(words, _FULL),
        name_parts=_among(words, _GIVEN) + _among(words, _MIDDLE) + _among(words, _FAMILY),
        organization=_among(words, _ORGANIZATION),
    )


def _among(words: Sequence[str], known: frozenset[str]) -> tuple[int, ...]:
    return tuple(index for index, word in enumerate(words) if word in known)


def _plain(cell: str) -> str:
    """Return a header cell in small letters without accents, so that one spelling is all."""
    letters = unicodedata.normalize("NFKD", cell.casefold())
    return one_line("".join(letter for letter in letters if not unicodedata.combining(letter)))
