"""The vCard reader finds every number of real exports, and survives what no exporter should write."""

import io
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kith.contacts import Contact, Fault, read_contacts
from kith.contacts.lines import BLOCK, MAX_LINE_BYTES
from kith.contacts.vcard import MAX_NUMBERS
from kith.contacts.vcard_lines import MAX_VALUE_BYTES

DATA = Path(__file__).parents[2] / "data" / "vcards"

NUMBERS: dict[str, list[tuple[str, int]]] = {
    "John_Doe_ANDROID.vcf": [
        ("123456789", 15),
        ("123456", 24),
        ("234567", 25),
        ("3456789", 26),
        ("45678901", 27),
        ("123456", 40),
        ("123456", 41),
        ("123456", 42),
        ("55556666", 75),
    ],
    "John_Doe_GMAIL.vcf": [("905-555-1234", 8), ("905-666-1234", 9)],
    "John_Doe_IPHONE.vcf": [
        ("905-555-1234", 10),
        ("905-666-1234", 11),
        ("905-777-1234", 12),
        ("905-888-1234", 13),
        ("905-999-1234", 14),
        ("905-111-1234", 15),
        ("905-222-1234", 16),
    ],
    "gmail-list.vcf": [],
    "outlook-2007.vcf": [
        ("(111) 555-1111", 12),
        ("(111) 555-2222", 13),
        ("(111) 555-4444", 14),
        ("(111) 555-3333", 15),
        ("(111) 555-4444", 16),
    ],
    "rfc6350-example.vcf": [
        ("tel:+1-418-656-9254;ext=102", 13),
        ("tel:+1-418-262-6501", 14),
    ],
}
NAMES = {
    "John_Doe_ANDROID.vcf": [
        "john.doe@company.com",
        "jane.doe@company.com",
        "Ñ Ñ Ñ Ñ Ñ",
        "Ñ Ñ Ñ Ñ Ñ Ñ Ñ Ñ Ñ Ñ Ñ",
        "Ñ Ñ Ñ Ñ",
        "ÑÑÑÑ",
    ],
    "John_Doe_GMAIL.vcf": ["Mr. John Richter, James Doe Sr."],
    "John_Doe_IPHONE.vcf": ["Mr. John Richter James Doe Sr."],
    "gmail-list.vcf": ["Arnold Smith", "Chris Beatle", "Doug White"],
    "outlook-2007.vcf": ["Mr. Michael Angstadt Jr."],
    "rfc6350-example.vcf": ["Simon Perreault"],
}


def read(content: bytes | str, name: str = "book.vcf") -> tuple[list[Contact], list[Fault]]:
    """Return the contacts and the faults of a file's content."""
    data = content.encode() if isinstance(content, str) else content
    found = list(read_contacts(io.BytesIO(data), name))
    contacts = [item for item in found if isinstance(item, Contact)]
    return contacts, [item for item in found if isinstance(item, Fault)]


def texts(content: bytes | str) -> list[str]:
    """Return the numbers of a file's content as written."""
    return [number.text for contact in read(content)[0] for number in contact.numbers]


def test_every_file_of_the_folder_is_in_the_table() -> None:
    """A file added to the folder needs its numbers written down here."""
    assert sorted(path.name for path in DATA.glob("*.vcf")) == sorted(NUMBERS)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_real_exports_lose_nothing(name: str) -> None:
    """Names, numbers and lines of each export are exactly these, without a fault."""
    contacts, faults = read((DATA / name).read_bytes(), name)

    assert [(n.text, n.line) for contact in contacts for n in contact.numbers] == NUMBERS[name]
    assert [contact.name for contact in contacts] == NAMES[name]
    assert faults == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_line_ends_do_not_matter(name: str, end: str) -> None:
    """The same export with other line ends holds the same numbers at the same lines."""
    lines = (DATA / name).read_bytes().replace(b"\r", b"").split(b"\n")

    contacts, faults = read(end.encode().join(lines), name)

    assert [(n.text, n.line) for contact in contacts for n in contact.numbers] == NUMBERS[name]
    assert faults == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_encodings_do_not_matter(encoding: str) -> None:
    """Byte order marks and wide characters are understood."""
    card = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zoë Müller\r\nTEL:0151 1\r\nEND:VCARD\r\n"

    contacts, faults = read(card.encode(encoding))

    assert [(contact.name, contact.numbers[0].text) for contact in contacts] == [
        ("Zoë Müller", "0151 1")
    ]
    assert faults == []


def test_all_exports_in_one_file_lose_nothing() -> None:
    """Files put one after the other hold the sum of their numbers, marks and missing ends or not."""
    names = sorted(NUMBERS)
    glued = b"\xef\xbb\xbf".join((DATA / name).read_bytes().rstrip() for name in names)

    assert texts(glued) == [text for name in names for text, _ in NUMBERS[name]]


def card(*lines: str) -> str:
    """Return a card around some lines."""
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", *lines, "END:VCARD", ""])


ONE_LINERS: list[tuple[str, list[str]]] = [
    ("TEL:+1-202-867-5309", ["+1-202-867-5309"]),
    ("TEL;:+1-202-867-5309", ["+1-202-867-5309"]),
    ("tel;cell:1234567", ["1234567"]),
    ("item1.TEL;type=CELL:1234567", ["1234567"]),
    ("a.b.TEL:1234567", ["1234567"]),
    ("TEL ;HOME:1234567", ["1234567"]),
    ("TEL;Büro:1234567", ["1234567"]),
    ("TEL;Mobile Phone:1234567", ["1234567"]),
    ('TEL;TYPE="a:b;c":1234567', ["1234567"]),
    ('TEL;TYPE="CELL:1234567', ["1234567"]),
    ("TEL;X=" + "," * 60 + ":1234567", ["1234567"]),
    ("TEL;VALUE=uri:tel:+1-418-656-9254;ext=102", ["tel:+1-418-656-9254;ext=102"]),
    ("TEL;VALUE=uri:\r\n tel:+1-418-656-9254", ["tel:+1-418-656-9254"]),
    ("TEL;TYPE=\r\n CELL:123\r\n 4567", ["1234567"]),
    ("TE\r\n L:1234567", ["1234567"]),
    ("TEL;CELL;ENCODING=QUOTED-PRINTABLE:=2B49=20151", ["+49 151"]),
    ("TEL;CELL;QUOTED-PRINTABLE:+49=\r\n151", ["+49151"]),
    ("TEL;ENCODING=BASE64:KzQ5MTUx", ["+49151"]),
    ("TEL;ENCODING=B:+49 151", ["+49 151"]),
    ("TEL:+49 151 ::: +49 152", ["+49 151", "+49 152"]),
    ("TEL:+49151\\, +49152", ["+49151", "+49152"]),
    ("TEL:", []),
    ("TEL:   ", []),
    ("X-MS-TEL;CAR:1234567", ["1234567"]),
    ("X-ASSISTANT-PHONE:1234567", ["1234567"]),
    ("X_TEL:1234567", ["1234567"]),
    ("X-PHONETIC-FIRST-NAME:Jon", []),
    ("X-HOTEL:1234567", []),
    ("  TEL:1234567", ["1234567"]),
    ("NOTE;QUOTED-PRINTABLE:never ends=\r\nTEL:1234567", ["1234567"]),
    ("NOTE;QUOTED-PRINTABLE:my=\r\nTel: 999=\r\n\r\nTEL:1234567", ["1234567"]),
    ("PHOTO;ENCODING=BASE64:/9j/4AAQ\r\nTEl/A+WC5z\r\nTEL/A=\r\n\r\nTEL:1234567", ["1234567"]),
    ("NOTE:one\r\n two\r\n\tthree\r\nTEL:1234567", ["1234567"]),
]


@pytest.mark.parametrize(("lines", "expected"), ONE_LINERS)
def test_odd_lines_are_read(lines: str, expected: list[str]) -> None:
    """Numbers are found in every way that phones, programs and people write them."""
    contacts, faults = read(card("FN:Ann", lines, "X-END:") + card("FN:Ben", "TEL:7654321"))

    assert [number.text for number in contacts[0].numbers] == expected
    assert [number.text for number in contacts[1].numbers] == ["7654321"]
    assert [contact.name for contact in contacts] == ["Ann", "Ben"]
    assert faults == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("BEGIN:VCARD\nTEL:1\nEND:VCARDBEGIN:VCARD\nTEL:2\nEND:VCARD", ["1", "2"]),
        ("BEGIN:VCARDTEL:1\nTEL:2END:VCARDbegin:vcard\nTEL:3\nend:vcard", ["1", "2", "3"]),
        ("BEGIN:VCARD\nTEL:1\nBEGIN:VCARD\nTEL:2\nEND:VCARD\nTEL:3", ["1", "2", "3"]),
        ("TEL:1\nBEGIN:VCARD\nTEL:2\nEND:VCARD\nEND:VCARD\nTEL:3\n", ["1", "2", "3"]),
        ("BEGIN:VCARD\nTEL:1", ["1"]),
        ("  BEGIN:VCARD\n  FN:A\n  TEL:1\n  END:VCARD\n", ["1"]),
        ("BEGIN : VCARD\nTEL:1\nEND: VCARD\n", ["1"]),
        ("BEGIN:VCARD\nAGENT:\nBEGIN:VCARD\nTEL:1\nEND:VCARD\nTEL:2\nEND:VCARD", ["1", "2"]),
        ("BEGIN:VCARD\nAGENT:BEGIN:VCARD\\nTEL:1\\nEND:VCARD\\n\nTEL:2\nEND:VCARD", ["1", "2"]),
        ("BEGIN:VCARD\nAGENT;VALUE=uri:CID:x\nTEL:2\nEND:VCARD", ["2"]),
        ("BEGIN:VCARD\r\nTEL:1\rTEL:2\nTEL:3\r\r\nEND:VCARD", ["1", "2", "3"]),
    ],
)
def test_broken_cards_lose_no_number(content: str, expected: list[str]) -> None:
    """Missing, glued, nested and stray marks cost no number."""
    assert texts(content) == expected


def test_nested_cards_keep_their_names() -> None:
    """The assistant's number is not the boss's."""
    contacts, _ = read(
        "BEGIN:VCARD\nFN:Boss\nAGENT:\nBEGIN:VCARD\nFN:Aid\nTEL:1\nEND:VCARD\nTEL:2\nEND:VCARD"
    )

    assert [(one.name, one.numbers[0].text) for one in contacts] == [("Aid", "1"), ("Boss", "2")]


def test_nesting_without_end_is_bounded() -> None:
    """A file of beginnings only does not pile up."""
    contacts, faults = read("BEGIN:VCARD\nAGENT:\n" * 100 + "TEL:1")

    assert [number.text for one in contacts for number in one.numbers] == ["1"]
    assert len(contacts) == 100
    assert faults


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (["FN:", "N:Doe;Jane;Q.;Dr.;Jr.", "TEL:1"], "Dr. Jane Q. Doe Jr."),
        (["N:Doe\\;Roe;Jane", "TEL:1"], "Jane Doe;Roe"),
        (["ORG:Acme\\, Inc.;Sales", "TEL:1"], "Acme, Inc. Sales"),
        (["TEL:1", "NICKNAME:Jay"], "Jay"),
        (["FN:One", "FN:Two", "TEL:1"], "One"),
        (["FN:Line\\nbreak", "TEL:1"], "Line break"),
        (["FN;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:J=FCrgen", "TEL:1"], "Jürgen"),
        (["FN;CHARSET=SHIFT_JIS;QUOTED-PRINTABLE:=FF=FF", "TEL:1"], "ÿÿ"),
        (["FN;CHARSET=punycode:x", "TEL:1"], "x"),
        (["TEL:1"], ""),
    ],
)
def test_names_are_what_the_card_offers(lines: list[str], name: str) -> None:
    """The formatted name, else the parts, the nickname, the organization."""
    contacts, faults = read(card(*lines))

    assert [contact.name for contact in contacts] == [name]
    assert faults == []


def test_windows_characters_without_a_charset_are_read() -> None:
    """What is not UTF-8 is taken as Windows-1252."""
    contacts, _ = read("BEGIN:VCARD\nFN:J\u00fcrgen \u2019s\nEND:VCARD\n".encode("cp1252"))

    assert contacts[0].name == "Jürgen ’s"


def test_garbage_is_reported_once_a_run_with_its_line() -> None:
    """What is no vCard line is named by its place, and the numbers around it are found."""
    contacts, faults = read("BEGIN:VCARD\nTEL:1\ngarbage\nmore\nTEL:2\nagain\nEND:VCARD\n")

    assert [number.text for number in contacts[0].numbers] == ["1", "2"]
    assert [fault.line for fault in faults] == [3, 6]
    assert "colon" in faults[0].reason


def test_cards_that_do_not_end_are_reported() -> None:
    """A missing END is said, at the line where it shows."""
    _, faults = read("BEGIN:VCARD\nTEL:1\nBEGIN:VCARD\nTEL:2\n")

    assert [fault.line for fault in faults] == [3, 4]


def test_photos_are_not_gathered() -> None:
    """A photo of megabytes, folded or on one line, costs neither memory nor the numbers after it."""
    folded = "PHOTO;ENCODING=b:" + "\r\n ".join("A" * 75 for _ in range(3 * MAX_VALUE_BYTES // 75))
    flat = "PHOTO;ENCODING=b:" + "A" * (MAX_LINE_BYTES + 3 * BLOCK)

    contacts, faults = read(card("FN:Ann", folded, "TEL:1", flat, "TEL:2"))

    assert [number.text for number in contacts[0].numbers] == ["1", "2"]
    assert faults == []


def test_endless_numbers_are_reported() -> None:
    """A number line that is too long to be one is a fault, and the next card is read."""
    endless = "TEL:" + "1" * (MAX_LINE_BYTES + 2 * BLOCK)

    contacts, faults = read(card(endless) + card("TEL:2"))

    assert [fault.line for fault in faults] == [3]
    assert contacts[1].numbers[0].text == "2"


def test_a_card_of_endless_numbers_is_yielded_in_parts() -> None:
    """Memory stays bounded by yielding the numbers of a huge card bit by bit."""
    contacts, _ = read(card("FN:Ann", *(f"TEL:{n}" for n in range(MAX_NUMBERS + 1))))

    assert [len(contact.numbers) for contact in contacts] == [MAX_NUMBERS, 1]
    assert {contact.name for contact in contacts} == {"Ann"}


@pytest.mark.parametrize("start", [BLOCK - 12, BLOCK - 2, BLOCK - 1, BLOCK])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_block_borders_do_not_matter(start: int, end: str) -> None:
    """A line end that falls on the border of two reads counts once."""
    head = f"BEGIN:VCARD{end}NOTE:"
    content = head + "x" * (start - len(head)) + end + f"TEL:12345{end}END:VCARD"

    contacts, faults = read(content)

    assert [(number.text, number.line) for number in contacts[0].numbers] == [("12345", 3)]
    assert faults == []


def test_long_lines_end_where_they_end() -> None:
    """A line cut for its length is one line, also when it is the last."""
    endless = "NOTE:" + "x" * (MAX_LINE_BYTES + BLOCK)

    contacts, faults = read(f"{endless}\r\nTEL:1\r\n{endless}")

    assert [(number.text, number.line) for number in contacts[0].numbers] == [("1", 2)]
    assert faults == []


@given(st.binary(max_size=400), st.sampled_from(["book.vcf", "book.csv", ""]))
def test_no_bytes_make_the_readers_fail(content: bytes, name: str) -> None:
    """Arbitrary bytes yield contacts and faults, never an exception."""
    contacts, faults = read(content, name)

    assert all(contact.line >= 1 for contact in contacts)
    assert all(fault.line >= 1 for fault in faults)


FRAGMENTS = st.sampled_from(
    [
        *(
            "BEGIN:VCARD",
            "END:VCARD",
            "TEL:1",
            "TEL;ENCODING=B:",
            "TEL;QUOTED-PRINTABLE:=",
            "AGENT:",
        ),
        *(
            "AGENT:BEGIN:VCARD\\nTEL:3\\n",
            "FN;CHARSET=big5:\u00e9",
            "N:;;",
            "\r",
            "\n",
            "\r\n",
            " ",
            "\t",
        ),
        *(
            "=",
            '"',
            ";",
            ",",
            ":",
            "\ufeff",
            "\x00",
            "garbage",
            "PHOTO;ENCODING=b:AAAA",
            "0151 1234567",
        ),
    ]
)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("X-SIGNAL:+4915112345671", "+4915112345671"),
        ("X-WHATSAPP:0151 12345679", "0151 12345679"),
        ("IMPP:whatsapp:+4915112345670", "+4915112345670"),
        ("IMPP;X-SERVICE-TYPE=WhatsApp:x-apple:+4915112345673", "+4915112345673"),
        ("item1.URL:tel:+4915112345675", "+4915112345675"),
        ("URL:https://wa.me/4915112345676", "+4915112345676"),
        ("URL:https://signal.me/#p/+4915112345677", "+4915112345677"),
        ("IMPP:sgnl://signal.me/#p/anna", None),
        ("IMPP:xmpp:4915112345678@example.com", None),
        ("URL:https://example.com/4915112345678", None),
        ("X-SIGNAL:anna.42", None),
    ],
)
def test_addresses_of_messengers_may_be_numbers(line: str, number: str | None) -> None:
    """An address that is a number is one; no other is."""
    (contact,), faults = read(f"BEGIN:VCARD\nFN:Ann\n{line}\nEND:VCARD\n")

    assert [one.text for one in contact.numbers] == ([number] if number else [])
    assert faults == []


@given(st.lists(FRAGMENTS, max_size=40))
def test_no_mixture_of_parts_makes_the_reader_fail(parts: list[str]) -> None:
    """The parts of cards in any order never raise, and never lose the card that follows them."""
    content = "".join(parts) + "\n\nBEGIN:VCARD\nFN:Last\nTEL:99\nEND:VCARD\n"
    assume(content.count("\x00") * 20 <= len(content))  # what has more is a binary file

    contacts, _ = read(content)

    assert ("Last", "99") in [(one.name, n.text) for one in contacts for n in one.numbers]


def test_stray_zeros_at_the_start_are_not_utf_16() -> None:
    """A file that begins with a few zero bytes is still read as what it is."""
    contacts, _ = read("\x00\r\x00\n\nBEGIN:VCARD\nFN:Last\nTEL:99\nEND:VCARD\n")

    assert [(one.name, n.text) for one in contacts for n in one.numbers] == [("Last", "99")]
