"""JSON lines become contacts, and what is no such object becomes a fault with its line."""

import io
import json

import pytest

from kith.contacts import Contact, Fault, Format, read_contacts
from kith.contacts.lines import MAX_LINE_BYTES


def read(text: str | bytes, *, form: Format | None = "jsonl") -> list[Contact | Fault]:
    """Return what the reader yields for a file."""
    content = text.encode() if isinstance(text, str) else text
    return list(read_contacts(io.BytesIO(content), "book.txt", form=form))


def numbers(contact: Contact | Fault) -> list[str]:
    """Return the numbers of a contact as written."""
    assert isinstance(contact, Contact)
    return [number.text for number in contact.numbers]


def test_lists_under_any_name_are_looked_at() -> None:
    """Of texts and of objects; lists of other numbers are not."""
    (found,) = read(
        '{"name": "Ann", "details": [{"contact_point": "0151 12345678"}], "nums": ["0151 12345679"],'
        ' "a": {"b": [{"c": ["0151 12345670"]}]}, "ids": [15112345671], "iban": ["0151 12345672"]}'
    )

    assert numbers(found) == ["0151 12345678", "0151 12345679", "0151 12345670"]


def test_names_and_numbers_are_read() -> None:
    """One number or a list of them, in the lines' order; other members mean nothing."""
    found = read(
        '{"name": "Ann  Lee", "phone": "0151 1", "id": 7}\n'
        "\n"
        '{"phones": ["+49 151 2", "0151 3 ::: 0151 4"], "name": null}\r\n'
        '{"name": "Ben", "phone": null}'
    )

    assert [(one.name, one.line) for one in found if isinstance(one, Contact)] == [
        ("Ann Lee", 1),
        ("", 3),
        ("Ben", 4),
    ]
    assert [numbers(one) for one in found] == [
        ["0151 1"],
        ["+49 151 2", "0151 3", "0151 4"],
        [],
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ('{"phone": "+49', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["+49151"]', "not a JSON object"),
        ('"+49151"', "not a JSON object"),
        ('{"phone": 49151}', "must be a text"),
        ('{"phones": "+49151"}', "must be a text"),
        ('{"phones": [["+49151"]]}', "must be a text"),
        (json.dumps({"phones": ["1"] * 1001}), "must be a text"),
        ('{"name": "' + "x" * 2 * MAX_LINE_BYTES + '"}', "too long"),
    ],
)
def test_what_is_no_contact_is_a_fault(line: str, reason: str) -> None:
    """It is named with its line, and the lines around it are read."""
    before, fault, after = read(f'{{"phone": "1"}}\n{line}\n{{"phone": "2"}}\n')

    assert isinstance(fault, Fault)
    assert (fault.line, reason in fault.reason) == (2, True)
    assert [*numbers(before), *numbers(after)] == ["1", "2"]


def test_half_characters_are_made_whole() -> None:
    """JSON can write half of a surrogate pair, which no file and no database takes."""
    (contact,) = read(r'{"name": "Ann \ud800", "phone": "+49 \udfff 151"}')

    assert isinstance(contact, Contact)
    (contact.name + numbers(contact)[0]).encode()


def test_the_content_tells_the_format() -> None:
    """A file that begins with a brace is JSON lines, unless it is said to be another."""
    line = '\n{"phone": "0151 11111111"}\n'

    assert numbers(read(line, form=None)[0]) == ["0151 11111111"]
    assert numbers(read(line.encode("utf-16"), form=None)[0]) == ["0151 11111111"]
    assert numbers(read("Phone\n0151 11111111\n", form="csv")[0]) == ["0151 11111111"]
    assert isinstance(read("Phone\n", form="jsonl")[0], Fault)
