"""Columns beside a phone's that say which country or area it is in."""

import io

import pytest

from kith.contacts import Contact, Fault, read_contacts, readings
from kith.contacts.columns import parse_country


def read(content: str) -> tuple[list[str], list[Fault]]:
    """Return the numbers of a table as they are read in Germany, and the faults."""
    found = list(read_contacts(io.BytesIO(content.encode()), "book.csv"))
    numbers = [
        readings(number.text, number.region or "DE")[0]
        for item in found
        if isinstance(item, Contact)
        for number in item.numbers
    ]
    return numbers, [item for item in found if isinstance(item, Fault)]


@pytest.mark.parametrize(
    ("cell", "region"),
    [
        ("+44", "GB"),
        ("0044", "GB"),
        ("44", "GB"),
        ("44.0", "GB"),
        ("'+44", "GB"),
        ("(+44)", "GB"),
        ("+44 (GB)", "GB"),
        ("GB +44", "GB"),
        ("United Kingdom (+44)", "GB"),
        ("GB", "GB"),
        ("uk", "GB"),
        ("United Kingdom", "GB"),
        ("Vereinigtes K\u00f6nigreich", "GB"),
        ("U.S.A.", "US"),
        ("Canada (+1)", "CA"),
        ("+1", "US"),
        ("+1-684", "AS"),
        ("1 242", "BS"),
        ("\u00d6sterreich", "AT"),
        ("+43 (DE)", None),
        ("+999", None),
        ("+1 999", None),
        ("4915112345678", None),
        ("mobile", None),
        ("yes", None),
        ("", None),
        ("4" * 500, None),
    ],
)
def test_countries_are_read_as_they_are_written(cell: str, region: str | None) -> None:
    """As a code, as letters, as a name, and as two of them where they agree."""
    assert parse_country(cell) == region


@pytest.mark.parametrize(
    "title",
    [
        "Country Code",
        "Dial code",
        "CountryCode",
        "Landesvorwahl",
        "L\u00e4ndervorwahl",
        "Indicatif",
        "ISD Code",
        "Phone Country",
        "Phone Country Code",
    ],
)
def test_a_column_of_countries_is_of_the_phones_of_its_row(title: str) -> None:
    """It is used, so no fault says that it is not read."""
    table = f"Name,{title},Phone\nAnn,+44,07911 123456\nBob,+43,0664 1234567\nCat,,0151 12345678\n"

    assert read(table) == (["+447911123456", "+436641234567", "+4915112345678"], [])


@pytest.mark.parametrize(
    "header",
    [
        "Home Phone,Home Phone Country Code,Work Phone,Work Phone Country Code",
        "Home,Home Country Code,Work,Work Country Code",
    ],
)
def test_each_phone_has_the_country_that_is_named_like_it(header: str) -> None:
    """Two columns of countries are not mixed up."""
    table = (
        f"Name,{header}\nAnn,7911 123456,44,079 1234567,41\nBob,0151 12345678,49,020 79460018,44\n"
    )

    assert read(table) == (["+447911123456", "+41791234567", "+4915112345678", "+442079460018"], [])


def test_of_countries_without_a_name_the_one_before_is_the_phones() -> None:
    """Columns may have one title several times."""
    table = "Name,Country Code,Mobile,Country Code,Home\nAnn,44,7911123456,1,4155552672\n"

    assert read(table) == (["+447911123456", "+14155552672"], [])


def test_a_country_that_cannot_be_read_costs_its_row_the_number() -> None:
    """It would be read as somebody's at home; a number with a plus needs no country."""
    table = "Name,Country Code,Phone\nAnn,xx,0151 12345678\nBob,?,+4915112345679\nCat,49,0151 12345670\n"

    numbers, faults = read(table)

    assert numbers == ["+4915112345679", "+4915112345670"]
    assert [(fault.line, fault.name) for fault in faults] == [(2, "Ann")]
    assert "no country" in faults[0].reason


def test_the_country_of_an_address_is_not_the_phones() -> None:
    """Who moved abroad keeps a number."""
    table = "Name,Phone,Mailing Country Code\nAnn,0151 12345678,AT\nBob,0151 12345679,CH\n"

    assert read(table)[0] == ["+4915112345678", "+4915112345679"]


@pytest.mark.parametrize(
    ("table", "numbers"),
    [
        (
            "Name;Vorwahl;Telefon\nAnn;030;1234567\nBob;0151;12345678\n",
            ["+49301234567", "+4915112345678"],
        ),
        ("Name,Country,Area Code,Phone\nAnn,x,030,030 1234567\n", ["+49301234567"]),
        ("Name,Area Code,Phone\nAnn,030,+1 415 555 2671\n", ["+14155552671"]),
        (
            "Name,Country Code,Area Code,Phone\nAnn,1,415,5552671\nBob,1,(415),4155552672\n",
            ["+14155552671", "+14155552672"],
        ),
    ],
)
def test_an_area_code_is_set_before_its_number(table: str, numbers: list[str]) -> None:
    """Where the number does not have it already."""
    assert read(table) == (numbers, [])


@pytest.mark.parametrize(
    ("table", "names", "numbers"),
    [
        (
            "Name,Contact,Email\nAnn,0151 12345678,a@example.com\nBob,+49 151 12345679,b@example.com\n",
            ["Ann", "Bob"],
            ["+4915112345678", "+4915112345679"],
        ),
        (
            "Name;Firma;Kontakt\nAnn;Acme;0151 12345678\nBob;Acme;030 123456\n",
            ["Ann", "Bob"],
            ["+4915112345678", "+4930123456"],
        ),
        (
            "Name,Contact,Phone\nAnn,0151 12345678,\nBob,0151 12345679,0151 12345670\n",
            ["Ann", "Bob"],
            ["+4915112345678", "+4915112345670", "+4915112345679"],
        ),
        (
            "First,Last,Given\nAnn,Ex,0151 12345678\n",
            ["Ann Ex"],
            ["+4915112345678"],
        ),
    ],
)
def test_columns_of_names_may_hold_numbers(
    table: str, names: list[str], numbers: list[str]
) -> None:
    """A contact is somebody's name, or how to reach them: the cells tell."""
    found = [one for one in read_contacts(io.BytesIO(table.encode())) if isinstance(one, Contact)]

    assert [one.name for one in found] == names
    assert read(table) == (numbers, [])


@pytest.mark.parametrize(
    "content",
    [
        "Ann 0151 12345678\nBob 1 0151 12345679\n",
        "Ann - 0151 12345678\nBob 1 - 0151 12345679\n",
        "Ann   0151 12345678\nBob 1   0151 12345679 (new)\n",
    ],
)
def test_a_line_may_be_a_name_and_a_number(content: str) -> None:
    """The first line too; an address has too few digits."""
    found = [one for one in read_contacts(io.BytesIO(content.encode())) if isinstance(one, Contact)]

    assert [one.name for one in found] == ["Ann", "Bob 1"]
    assert read(content) == (["+4915112345678", "+4915112345679"], [])


@pytest.mark.parametrize("title", ["Kundennummer", "Debitor", "Steuernummer", "Mandat"])
def test_other_numbers_are_phones_behind_a_plus_only(title: str) -> None:
    """A double zero begins many a number of a customer."""
    table = f"{title};Name;Telefon\n0043123456;Ann;0151 12345678\n00493012345;Bob;0151 12345679\n"

    assert read(table) == (["+4915112345678", "+4915112345679"], [])
