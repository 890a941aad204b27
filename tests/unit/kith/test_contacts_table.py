"""The table reader finds the numbers of CSV exports, whatever wrote them."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith.contacts import Contact, Fault, read_contacts
from kith.contacts.csv_rows import MAX_ROW_LINES
from kith.contacts.lines import MAX_LINE_BYTES
from kith.contacts.table import looks_like_number

GOOGLE_OLD = (
    "Name,Given Name,Family Name,Phonetic Given Name,E-mail 1 - Type,E-mail 1 - Value,"
    "Phone 1 - Type,Phone 1 - Value,Phone 2 - Type,Phone 2 - Value\n"
    "Ann Lee,Ann,Lee,En,* Home,ann@example.com,Mobile,+49 151 1 ::: +49 151 2,Work,030 3\n"
)
GOOGLE_NEW = (
    "First Name,Middle Name,Last Name,Phonetic First Name,Organization Name,Notes,"
    "E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Label,Phone 1 - Value\n"
    'Ann,Q.,Lee,En,Acme,"two\nlines, 12345678",,,Mobile,+49 151 1\n'
    ",,,,Acme,,,,,+49 151 2\n"
)
OUTLOOK = (
    "First Name,Last Name,Company,Business Phone,Home Phone,Mobile Phone,Business Fax,Pager,"
    "E-mail Address,Government ID Number,Notes\r\n"
    "Ann,Lee,Acme,(111) 555-1111,,(111) 555-4444,(111) 555-3333,,ann@example.com,,\r\n"
)
OUTLOOK_GERMAN = (
    "Vorname;Nachname;Firma;Telefon (geschäftlich);Mobiltelefon;Hausnummer\r\n"
    "Jürgen;Groß;Acme;030 1;0151 2;12\r\n"
)
SPANISH = "Nombre;Apellidos;Teléfono móvil;Correo electrónico\nAna;Ruiz;600 1;ana@example.com\n"
FRENCH = "Prénom\tNom\tTél. portable\tNuméro de rue\nAnne\tRoy\t06 1\t12\n"
APPLE = "Name,Mobile,Home Page\nAnn Lee,0151 1,https://example.com\n"


def read(content: bytes | str, name: str = "book.csv") -> tuple[list[Contact], list[Fault]]:
    """Return the contacts and the faults of a file's content."""
    data = content.encode() if isinstance(content, str) else content
    found = list(read_contacts(io.BytesIO(data), name))
    contacts = [item for item in found if isinstance(item, Contact)]
    return contacts, [item for item in found if isinstance(item, Fault)]


def pairs(content: bytes | str) -> list[tuple[str, str, int]]:
    """Return name, number and line of everything in a table."""
    contacts, faults = read(content)
    assert faults == []
    return [(one.name, number.text, number.line) for one in contacts for number in one.numbers]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (GOOGLE_OLD, [("Ann Lee", text, 2) for text in ("+49 151 1", "+49 151 2", "030 3")]),
        (GOOGLE_NEW, [("Ann Q. Lee", "+49 151 1", 2), ("Acme", "+49 151 2", 4)]),
        (
            OUTLOOK,
            [("Ann Lee", f"(111) 555-{four}", 2) for four in ("1111", "4444", "3333")],
        ),
        (OUTLOOK_GERMAN, [("Jürgen Groß", "030 1", 2), ("Jürgen Groß", "0151 2", 2)]),
        (OUTLOOK_GERMAN.encode("cp1252"), [("Jürgen Groß", t, 2) for t in ("030 1", "0151 2")]),
        (SPANISH, [("Ana Ruiz", "600 1", 2)]),
        (SPANISH.encode("utf-16"), [("Ana Ruiz", "600 1", 2)]),
        (FRENCH, [("Anne Roy", "06 1", 2)]),
        (APPLE.encode("utf-8-sig"), [("Ann Lee", "0151 1", 2)]),
        ("sep=;\nName;Handy\nAnn;0151 1\n", [("Ann", "0151 1", 3)]),
        ("Name|Phone\nAnn|0151 1", [("Ann", "0151 1", 2)]),
        ("name,customer number,number\nAnn,1,0151 1234567\n", [("Ann", "0151 1234567", 2)]),
        (
            "Ann,0151 1234567\nBen,0152 1234567",
            [("Ann", "0151 1234567", 1), ("Ben", "0152 1234567", 2)],
        ),
        (
            "+4915112345678\r\r\n\r\n0152 1234567",
            [("", "+4915112345678", 1), ("", "0152 1234567", 3)],
        ),
        ("Wer,Wann,Was\nAnn,2012-06-06,0151/1234567\n", [("Ann", "0151/1234567", 2)]),
        ("Name,Phone\nAnn,+49151;+49152\n", [("Ann", "+49151", 2), ("Ann", "+49152", 2)]),
        ('Name,Phone\n"Lee, Ann",0151 1\nBen\n', [("Lee, Ann", "0151 1", 2)]),
        ("Name,Phone\nAnn,not one\n", [("Ann", "not one", 2)]),
    ],
)
def test_tables_are_read(content: bytes | str, expected: list[tuple[str, str, int]]) -> None:
    """Headers of Google, Outlook and Apple in several languages, or no header, lead to the numbers."""
    assert pairs(content) == expected


def test_rows_without_numbers_are_contacts() -> None:
    """Everybody in the table is counted."""
    contacts, _ = read("Name,Phone\nAnn,\nBen,0151 1\n")

    assert [(one.name, len(one.numbers)) for one in contacts] == [("Ann", 0), ("Ben", 1)]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("0151 1234567", True),
        ("+49 (151) 123-4567", True),
        ("tel:+49151123456;ext=5", True),
        ("'+49151123456", True),
        ("0151 1234567 ::: 0152 1234567", True),
        ("2012-06-06", False),
        ("06.06.2012", False),
        ("46.77267312", False),
        ("12345", False),
        ("1" * 21, False),
        ("https://example.com/1234567", False),
        ("Ann", False),
        ("", False),
    ],
)
def test_what_looks_like_a_number(cell: str, expected: bool) -> None:
    """Dates, decimals, short and endless digits are no phone numbers by their looks."""
    assert looks_like_number(cell) is expected


@pytest.mark.parametrize(
    ("content", "numbers", "lines"),
    [
        ('Name,Phone\n"Ann,0151 1\nBen,0152 2\n', ["0151 1", "0152 2"], [2]),
        ('Name,Phone\n"Ann,0151 1\n"Ben",0152 2\nCid,3\n', ["0151 1", "0152 2", "3"], [2]),
        ('Name,Phone\n"Ann" Lee,0151 1\nBen,0152 2\n', ["0151 1", "0152 2"], []),
        ('Name,Phone\n5" Ann,0151 1\nBen,0152 2\n', ["0151 1", "0152 2"], []),
        (
            'Name,Phone\n"Ann,0151 1\n' + "x,0152 2\n" * (MAX_ROW_LINES + 5),
            ["0151 1", *["0152 2"] * (MAX_ROW_LINES + 5)],
            [2],
        ),
        (f'Name,Phone,Note\nAnn,1,"{"x" * 140_000}"\nBen,2,\n', ["1", "2"], []),
    ],
)
def test_broken_quotation_costs_one_line_at_most(
    content: str, numbers: list[str], lines: list[int]
) -> None:
    """A mark that is never closed does not swallow the rows that follow."""
    contacts, faults = read(content)

    assert [number.text for one in contacts for number in one.numbers] == numbers
    assert [fault.line for fault in faults] == lines


def test_endless_rows_are_reported() -> None:
    """A line above the limit is read as far as it goes, and named."""
    contacts, faults = read(f"Name,Phone\nAnn,1,{'x' * 2 * MAX_LINE_BYTES}\nBen,2\n")

    assert [number.text for one in contacts for number in one.numbers] == ["1", "2"]
    assert [fault.line for fault in faults] == [2]


@pytest.mark.parametrize("filler", [" ", ";", "1-", ":::", ", "])
def test_endless_cells_are_read_in_linear_time(filler: str) -> None:
    """A cell of a hundred thousand characters, whatever they are, does not stop the reader."""
    endless = filler * (100_000 // len(filler))

    contacts, _ = read(f'Name,Phone,Wer\nAnn,"1{endless}x",\nBen,2,\n')
    unnamed, _ = read(f'Wer,Was\nAnn,"1{endless}x"\nBen,0151 1234567\n')

    assert contacts[1].numbers[0].text == "2"
    assert unnamed[1].numbers[0].text == "0151 1234567"


def test_workbooks_are_named_as_such() -> None:
    """An Excel file is not read as a table of garbage."""
    contacts, faults = read(b"PK\x03\x04" + bytes(range(256)), "book.xlsx")

    assert contacts == []
    assert "export it as CSV" in faults[0].reason


@pytest.mark.parametrize("name", ["a.vcf", "a.csv", "-"])
def test_empty_files_hold_nobody(name: str) -> None:
    """Nothing in, nothing out."""
    assert read(b"", name) == ([], [])


def test_content_decides_before_the_name() -> None:
    """A vCard under a wrong name is a vCard, and an odd .vcf is read as one."""
    card = "\ufeff\r\nbegin:vcard\r\nTEL:0151 1\r\nend:vcard\r\n"

    assert read(card, "export.csv")[0][0].numbers[0].text == "0151 1"
    assert read("TEL:0151 1", "odd.VCF")[0][0].numbers[0].text == "0151 1"


CELLS = st.sampled_from(
    ['"', ",", ";", "\n", "\r", "Ann", "0151 1234567", "Phone", '""', "\x00", "sep=,"]
)


@given(st.lists(CELLS, max_size=60))
def test_no_mixture_of_cells_makes_the_reader_fail(parts: list[str]) -> None:
    """The parts of tables in any order never raise, and rows are told in order."""
    contacts, _ = read("".join(parts))

    lines = [one.line for one in contacts]
    assert lines == sorted(lines)
