"""What programs and people export is read to the last number, or what is not is said."""

import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from kith.contacts import Contact, Fault, read_contacts
from kith.contacts.ldif import MAX_VALUE_BYTES
from kith.contacts.xml_contacts import MAX_NAME_CHARACTERS
from kith.sync import Book, gather
from tests.unit.kith.canned import Script
from tests.unit.kith.conftest import Run
from tests.unit.kith.lookup_server import LookupServer, contact

DATA = Path(__file__).parents[2] / "data" / "address_books"

A, B, C = "+14155550101", "+14155550100", "+4915112345678"


@dataclass(frozen=True)
class Read:
    """What a file holds: name and number of each entry, in order, and what was not read."""

    entries: list[tuple[str, str]]
    faults: list[Fault]
    contacts: int
    numbers: int

    @property
    def numbers_read(self) -> list[str]:
        """The numbers by themselves."""
        return [number for _, number in self.entries]


def read(content: bytes | str | Path, region: str | None = "US", name: str = "book") -> Read:
    """Read a file, or its content, as `kith sync` does."""
    if isinstance(content, Path):
        content, name = content.read_bytes(), content.name
    data = content.encode() if isinstance(content, str) else content
    with Book() as book:
        gather(read_contacts(io.BytesIO(data), name), book, region=region)
        entries = [(entry.name, f"+{entry.number}") for entry in book.entries()]
        return Read(entries, list(book.faults()), book.contacts, book.numbers)


#: File, country, the numbers of each person in the order of the file.
BOOKS: list[tuple[str, str, list[tuple[str, list[str]]]]] = [
    (
        "F01-csv-latin-header-word.csv",
        "DE",
        [("Анна Пример", ["+49301234567", C]), ("Борис Пример", [A])],
    ),
    ("F01b-csv-thunderbird-ja.csv", "DE", [("佐藤花子", [A])]),
    ("F02-csv-mixed-headers.csv", "US", [("Ann", [A]), ("Bob", [B]), ("Cat", [C])]),
    ("F02b-csv-dutch-outlook.csv", "NL", [("Jan Voorbeeld", [A, C, B])]),
    ("F03-csv-title-line.csv", "US", [("Bob", [A]), ("Ada", [B])]),
    (
        "F04-csv-unnamed-column.csv",
        "US",
        [
            ("plain", [B]),
            *(
                (name, [A])
                for name in ("bidi", "formula", "words", "comment", "pause", "fullwidth")
            ),
            ("two", [A, B]),
            ("float", [A]),
        ],
    ),
    ("F04b-csv-number-header.csv", "US", [("Ana", [B]), ("Luis", [A])]),
    ("F05-csv-first-row-taken-as-header.csv", "US", [("Bob", [A]), ("Ada", [B])]),
    ("F06-thunderbird.ldif", "US", [("Bob Example", [A, C])]),
    ("F06b-array.json", "US", [("Bob", [A])]),
    ("F06c-jcard.json", "US", [("Bob", [A])]),
    ("F06d-xcard.xml", "US", [("Bob", [A])]),
    ("F06e-contacts.vcf.gz", "US", [("Bob", [A])]),
    ("F06f-telegram-result.json", "US", [("Bob", [A])]),
    ("F06g-old-excel.xls", "US", []),
    (
        "F07-word-becomes-digits.vcf",
        "DE",
        [("New", [C]), ("Mum", [C]), ("Old phone pause", [C]), ("Extension", ["+4930123456"])],
    ),
    ("F08-local-only-number.csv", "US", []),
    (
        "F09-country-code-without-plus.csv",
        "DE",
        [("Deutsch", [C, "+494915112345678"]), ("Noch einer", [C[:-1] + "9", "+494915112345679"])],
    ),
    ("F10-spreadsheet-float.csv", "DE", [("Deutsch", [C]), ("Mit Plus", [C])]),
    ("F11-double-zero.csv", "SG", [("German", [C]), ("American", [A])]),
    ("F11-double-zero.csv", "NG", [("German", [C]), ("American", [A])]),
    ("F11-double-zero.csv", "US", [("German", [C]), ("American", [A])]),
    (
        "F12-two-forms-of-one-number.csv",
        "MX",
        [
            (f"Mexico {which}", ["+525512345678"])
            for which in ("old international", "now", "old national", "trunk")
        ],
    ),
    (
        "F12b-argentina-brazil.csv",
        "AR",
        [
            ("Argentina with 9", ["+5491123456789", "+541123456789"]),
            ("Argentina without 9", ["+541123456789", "+5491123456789"]),
            ("Brazil eight digits", ["+5511987654321"]),
            ("Brazil nine digits", ["+5511987654321"]),
        ],
    ),
    ("F13-tel-uri-parameters.vcf", "US", [("Ported", ["+14155550188"]), ("Parameters", [A] * 3)]),
    ("F14-pause-and-wait.vcf", "US", [("Calling card", [A]), ("Wait", [A] * 3)]),
    (
        "F15-zero-in-brackets.csv",
        "DE",
        [
            ("Poland", ["+48512345678"]),
            ("Czech", ["+420601123456"]),
            ("Greece", ["+306912345678"]),
            ("Germany", [C]),
        ],
    ),
    (
        "F16-invisible-inside.csv",
        "US",
        [
            (name, [A])
            for name in ("Bidi inside", "Variation selector", "Zero width joiner", "Soft hyphen")
        ],
    ),
    ("F17-vcard-words-as-properties.vcf", "US", [("Bob", [A]), ("Ada", [B])]),
]
#: Files with faults: line, whose it is, and words of the reason.
FAULTS = {
    "F04-csv-unnamed-column.csv": [(10, "excel", "a spreadsheet has shortened it")],
    "F06g-old-excel.xls": [(1, "", "save it as CSV")],
    "F08-local-only-number.csv": [
        (2, "Neighbour", "without area code (US was assumed)"),
        (3, "Short", "without area code (US was assumed)"),
    ],
    "F17-vcard-words-as-properties.vcf": [(13, "", "it has no colon")],
}


def test_every_file_of_the_folder_is_in_the_table() -> None:
    """A file added to the folder needs its numbers written down here."""
    files = {path.name for path in DATA.iterdir() if path.suffix != ".md"}
    assert files == {name for name, _, _ in BOOKS}


@pytest.mark.parametrize(("name", "region", "people"), BOOKS)
def test_exports_lose_nothing(name: str, region: str, people: list[tuple[str, list[str]]]) -> None:
    """The names, the numbers and what was not read of each file are exactly these."""
    found = read(DATA / name, region)

    assert found.entries == [(who, number) for who, numbers in people for number in numbers]
    expected = FAULTS.get(name, [])
    assert [(fault.line, fault.name) for fault in found.faults] == [one[:2] for one in expected]
    for fault, (_, _, words) in zip(found.faults, expected, strict=True):
        assert words in fault.reason


@pytest.mark.parametrize(("name", "region", "people"), BOOKS)
def test_sync_asks_about_all_of_it(
    name: str,
    region: str,
    people: list[tuple[str, list[str]]],
    run: Run,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`kith sync` finds everybody who is here, and --strict tells that something was not read."""
    everybody = {number for _, numbers in people for number in numbers}
    LookupServer(script, everybody, left=100)
    monkeypatch.setenv("KITH_SERVER", "http://127.0.0.1:8000")
    monkeypatch.setenv("KITH_TOKEN", "kithsvc_token")

    result = run("sync", str(DATA / name), "--region", region, "--strict", "--output", "jsonl")

    matches = [json.loads(line) for line in result.stdout.splitlines()]
    assert {match["phone_number"] for match in matches} == everybody
    assert {match["name"] for match in matches} == {who for who, _ in people}
    assert result.exit_code == (9 if name in FAULTS else 0)


@pytest.mark.parametrize("name", [name for name, _, _ in BOOKS if not name.endswith("gz")])
def test_compressed_books_are_read(name: str) -> None:
    """A layer of gzip changes nothing of a file, and two neither."""
    content = (DATA / name).read_bytes()
    plain = read(content, "DE", name)

    assert read(gzip.compress(content), "DE", f"{name}.gz") == plain
    assert read(gzip.compress(gzip.compress(content)), "DE", f"{name}.gz.gz") == plain
    if content:
        half = len(content) // 2
        parts = gzip.compress(content[:half]) + gzip.compress(content[half:])
        assert read(parts, "DE", f"{name}.gz") == plain


@pytest.mark.parametrize("cut", [3, 20, -9, -1])
def test_damaged_compression_is_said(cut: int) -> None:
    """What could be unpacked is read."""
    packed = gzip.compress(b"Name,Phone\n" + b"Ann,+14155550101\n" * 50)[:cut]

    found = read(packed)

    assert found.faults[-1].reason == "the compressed file is damaged; only its beginning is read"
    assert set(found.numbers_read) <= {A}
    assert (len(found.entries) > 40) is (cut < 0)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"PK\x03\x04", "workbook or an archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64), "old Office file"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"SQLite format 3\x00" + bytes(100), "SQLite"),
        (b"!BDN" + bytes(10), ".pst"),
        (b"bplist00", "property list"),
        (b"{\\rtf1\\ansi", "RTF"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"\xff\xd8\xff\xe0", "picture"),
        (bytes(257) + b"ustar", "tar"),
        (b"<!DOCTYPE html>\n<html>", "web page"),
        (b"\n<html lang=de>", "web page"),
        (b"BEGIN:VCALENDAR\nBEGIN:VEVENT\n", "calendar"),
        (bytes(range(256)) * 10, "binary file"),
        (b'<?xml version="1.0"?><smses/>', "XML of another kind"),
        (b'<?xml version="1.0"?><vcards><vcard></oops>', "XML is broken"),
        (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a/>', "declares entities"),
        (b'{\n"chats": {\n"list": [{"text": "a\\"]"}]}}', "JSON without a list"),
        (b'[{"phone": "', "JSON is broken"),
        (b"[1, 2]", "JSON without a list"),
    ],
)
def test_what_is_no_address_book_is_named(start: bytes, words: str) -> None:
    """One fault says what the file is and what to do, also where it is compressed."""
    for content in (start, gzip.compress(start)):
        found = read(content)
        assert (found.contacts, found.numbers) == (0, 0) or "broken" in words
        assert len(found.faults) == 1
        assert words in found.faults[0].reason


def test_faults_of_one_kind_are_bounded() -> None:
    """A file of a thousand lines that are none is not a thousand faults."""
    found = read('{"phone": "+14155550101"}\n' + "none\n" * 1000)

    assert len(found.faults) == 101
    assert found.faults[-1] == Fault(
        1001, "900 more up to here: not JSON; each line is one object", ""
    )


def test_rows_without_end_are_read() -> None:
    """A row of a hundred thousand cells is no header, and takes no time to speak of."""
    row = "," * 100_000 + "+14155550101\n"

    assert read(row * 3).numbers_read == [A] * 3
    assert read("Name,Phone\n" + row).numbers_read == [A]


def test_a_json_list_holds_records_of_many_kinds() -> None:
    """Objects as CRM systems, Google and WhatsApp's tools write them; what is none is counted."""
    found = read(
        """[
        {"first_name": "Ann", "lastName": "Lee", "mobile": "+1 415 555 0101"},
        {"displayName": "Ben", "phoneNumbers": [{"type": "home", "value": "415 555 0100"}]},
        {"names": [{"givenName": "Cat"}], "phone": 4915112345678, "has_phone": true},
        {"name": "Dan", "id": {"user": "49", "_serialized": "4915112345678@c.us"}},
        {"Name": "Eva", "note": "+1 415 555 0101", "phone_country_code": "+1"},
        "+1 415 555 0100",
        17, null,
        ]"""
    )

    assert found.entries == [
        ("Ann Lee", A),
        ("Ben", B),
        ("Dan", C),
        ("Eva", A),
        ("", B),
    ]
    assert [(fault.line, fault.name) for fault in found.faults] == [(4, "Cat"), (8, "")]
    assert "no number of its country" in found.faults[0].reason
    assert found.faults[1].reason == "2 entries are no contacts"


@pytest.mark.parametrize(
    "document",
    [
        '{"contacts": [{"name": "Ann", "phone": "+14155550101"}]}',
        '{"a": [1, {"b": "]"}], "c": 1.5, "data": {"list": [{"name": "Ann", "tel": "+14155550101"}]}}',
        '{\n"name": "Ann",\n"phone": "+14155550101"\n}',
        '[["vcard", [["n", {}, "text", ["", "Ann", "", "", ""]], ["tel", {}, "text", "+14155550101"]]]]',
        '["vcardstream", ["vcard", [["fn", {}, "text", "Ann"], ["tel", {}, "uri", "tel:+14155550101"]]]]',
        '{"14155550101@s.whatsapp.net": {"name": "Ann"}}',
        '{"value": [{"displayName": "Ann", "businessPhones": ["+1 415 555 0101"]}]}',
        '\ufeff[{"name": "Ann", "phone": "+14155550101"}]',
    ],
)
def test_json_documents_are_walked_to_their_lists(document: str) -> None:
    """Whatever encloses the contacts, and however it is broken into lines and blocks."""
    assert read(document).entries == [("Ann", A)]
    assert read(document).faults == []
    assert read(document.encode("utf-16")).entries == [("Ann", A)]


def test_large_documents_are_read_piece_by_piece() -> None:
    """A list of megabytes, with members that are passed over, loses nothing at any boundary."""
    people = [
        {"first_name": f"P{n}", "phone_number": f"+1415555{n:04}", "x": "y" * (n % 977)}
        for n in range(3000)
    ]
    chats = [{"messages": [{"text": 'a "b" \\ [}' * 50}] * 30} for _ in range(100)]
    document = {"about": "…", "chats": {"list": chats}, "contacts": {"list": people}}

    found = read(json.dumps(document, indent=1))

    assert found.contacts == 3000
    assert found.faults == []
    assert len(set(found.numbers_read)) == 3000


def test_objects_one_after_the_other_are_all_read() -> None:
    """A first line that is longer than what is looked at does not hide the others."""
    first = {"name": "Ann", "photo": "x" * 100_000, "phone": A}
    lines = [first, {"name": "Ben", "phone": B}, {"name": "Cat", "phone": C}]

    found = read("\n".join(json.dumps(line) for line in lines))

    assert found.entries == [("Ann", A), ("Ben", B), ("Cat", C)]
    assert read(json.dumps([first]) + json.dumps(lines[1:])).numbers_read == [A, B, C]
    assert "broken" in read(json.dumps([first]) + "]").faults[0].reason


def test_the_phone_book_of_a_router() -> None:
    """FRITZ!Box: names as they are there; internal numbers are reported, not dropped."""
    found = read(
        '<?xml version="1.0" encoding="iso-8859-1"?>\n<phonebooks><phonebook name="T">\n'
        "<contact><category>0</category><person><realName>M\u00fcller</realName></person>\n"
        '<telephony><number type="home" id="0">030 123456</number>\n'
        '<number type="intern" id="1">**610</number></telephony></contact>\n'
        "</phonebook></phonebooks>".encode("latin-1"),
        "DE",
    )

    assert found.entries == [("M\u00fcller", "+4930123456")]
    assert [(fault.line, fault.name) for fault in found.faults] == [(5, "M\u00fcller")]


def test_xcards_of_every_encoding() -> None:
    """Names in parts, several numbers, and a document in UTF-16."""
    document = (
        '<?xml version="1.0" encoding="{}"?><vcards xmlns="urn:ietf:params:xml:ns:vcard-4.0">'
        "<vcard><n><surname>L\u00e9e</surname><given>Ann</given></n><tel><uri>tel:+14155550101"
        "</uri></tel><tel><text>+1 415 555 0100</text></tel></vcard></vcards>"
    )
    for encoding in ("utf-8", "utf-16", "iso-8859-1"):
        found = read(document.format(encoding).encode(encoding))
        assert found.entries == [("Ann L\u00e9e", A), ("Ann L\u00e9e", B)]


def test_chats_of_whatsapp() -> None:
    """Who wrote without being a contact is a number there, in the words of both systems."""
    found = read(
        "[28.11.26, 10:00:00] Ann: Hi\n[28.11.26, 10:01:00] \u202a+1 415 555 0101\u202c: Ho: ho\n"
        "28/11/2026, 10:02 - Ann: again\nmore: of it\n11/28/26, 9:05 PM - +1 415 555 0100: x\n"
    )

    assert found.numbers_read == [A, B]
    assert found.contacts == 3


@pytest.mark.parametrize(
    "content",
    [
        "<vcards><vcard><fn><text>A</text></fn><tel><uri>tel:+4930123456</uri></tel></vcard></vcards>",
        "<phonebooks>\n<phonebook>\n<contact><person><realName>A</realName></person>"
        "<telephony><number>+4930123456</number></telephony></contact></phonebook></phonebooks>",
        '<!-- of today -->\n<vcards xmlns="urn:ietf:params:xml:ns:vcard-4.0"><vcard><fn><text>A'
        "</text></fn><tel><uri>tel:+4930123456</uri></tel></vcard></vcards>",
    ],
)
def test_xml_needs_no_declaration_and_no_name(content: str) -> None:
    """It is told by its first element."""
    (contact,) = read_contacts(io.BytesIO(content.encode()), "book.txt")

    assert isinstance(contact, Contact)
    assert contact.name == "A"
    assert [one.text.removeprefix("tel:") for one in contact.numbers] == ["+4930123456"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<table><tr><td>Ann</td><td>0151 12345678</td></tr></table>", "web page"),
        ("Name,Phone\n", "no contact and no number"),
        ("", None),
        (" \n\n", None),
    ],
)
def test_a_file_that_yields_nothing_says_so(content: str, reason: str | None) -> None:
    """Silence would look like a book that was read."""
    found = list(read_contacts(io.BytesIO(content.encode()), "book.csv"))

    assert [one for one in found if isinstance(one, Contact) and one.numbers] == []
    assert [reason in one.reason for one in found if isinstance(one, Fault) and reason] == (
        [True] if reason else []
    )
    assert reason or not found


def test_folds_without_end_do_not_hide_what_follows() -> None:
    """Each fold is looked at once; of an endless value the beginning is kept."""
    folded = "dn: cn=A\ncn: A" + "\n " * 300_000 + "\n b" * 300_000 + "\nmobile: 0151 12345678\n"

    (contact,) = read_contacts(io.BytesIO(folded.encode()), "a.ldif")

    assert isinstance(contact, Contact)
    assert len(contact.name) <= MAX_VALUE_BYTES
    assert [number.text for number in contact.numbers] == ["0151 12345678"]


def test_broken_base64_is_told() -> None:
    """A number in it would be lost in silence; a photo cut short has none."""
    photo = "jpegPhoto:: " + "A" * 200_001
    content = f"dn: cn=A\ncn: A\nmobile:: !!!no\n{photo}\ntelephoneNumber: 030 123456\n"

    fault, contact = read_contacts(io.BytesIO(content.encode()), "a.ldif")

    assert isinstance(fault, Fault)
    assert (fault.line, fault.reason) == (3, "'mobile' is no base64, and is not read")
    assert isinstance(contact, Contact)
    assert [number.text for number in contact.numbers] == ["030 123456"]


def test_names_of_many_elements_are_bounded() -> None:
    """One card may say as many given names as it likes."""
    given = "<given>Ann</given>" * 100_000
    card = f"<vcard><n>{given}<surname>Lee</surname></n><tel><text>030 123456</text></tel></vcard>"
    content = f'<?xml version="1.0"?><vcards>{card}</vcards>'

    (contact,) = read_contacts(io.BytesIO(content.encode()), "a.xml")

    assert isinstance(contact, Contact)
    assert contact.name.startswith("Ann Ann")
    assert contact.name.endswith(" Lee")
    assert len(contact.name) < 3 * MAX_NAME_CHARACTERS


def test_ldif_of_directories() -> None:
    """Folded and encoded values, comments, options, names in parts; stamps are no numbers."""
    found = read(
        "version: 1\n\n# all of us\ndn:: Y249\ncn:: SsO8cmdlbg==\nmobile: +1 415\n  555 0101\n"
        "modifytimestamp: 20100101120000Z\njpegPhoto:< file:///x\n\ndn: x\ngivenName: A\nsn: B\n"
        "homePhone;lang-de: 415 555 0100\nnocolon\ncustom: +49 1511 2345678\n"
    )

    assert found.entries == [("J\u00fcrgen", A), ("A B", B), ("A B", C)]
    assert [(fault.line, fault.reason) for fault in found.faults] == [
        (15, "not an LDIF line: it has no colon")
    ]


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        ("Имя,Фамилия,Телефон\nИван,Петров,{}\n", "cp1251", "Иван Петров"),
        ("Name,Phone\nИван Петров,{}\n", "cp1251", "Иван Петров"),
        ("BEGIN:VCARD\nFN:Иван Петров\nTEL:{}\nEND:VCARD\n", "cp1251", "Иван Петров"),
        ("Name,Phone\nОльга Иванова,{}\n", "koi8-r", "Ольга Иванова"),
        ("氏名,電話番号\n佐藤花子,{}\n", "cp932", "佐藤花子"),
        ("Name,Phone\n佐藤花子,{}\n", "shift_jis", "佐藤花子"),
        ("BEGIN:VCARD\nFN:表示 花子\nTEL:{}\nEND:VCARD\n", "cp932", "表示 花子"),
        ("BEGIN:VCARD\nFN;CHARSET=SHIFT_JIS:佐藤花子\nTEL:{}\nEND:VCARD\n", "cp932", "佐藤花子"),
        ("姓名,手机\n王小明,{}\n", "gb18030", "王小明"),
        ("이름,휴대폰\n김철수,{}\n", "cp949", "김철수"),
        ("Όνομα,Κινητό τηλέφωνο\nΓιώργος,{}\n", "cp1253", "Γιώργος"),
        ("Name;Telefon\nJürgen Groß;{}\n", "cp1252", "Jürgen Groß"),
        ("Nom;Tél. portable\nÉlodie Ançay;{}\n", "cp1252", "Élodie Ançay"),
    ],
)
@pytest.mark.parametrize("filler", [0, 70_000])
def test_names_in_older_encodings(text: str, encoding: str, name: str, filler: int) -> None:
    """What is not UTF-8 is read as what it looks like, wherever the first such character is."""
    if filler and text.startswith("BEGIN"):
        text = "BEGIN:VCARD\nNOTE:" + "x" * filler + "\nEND:VCARD\n" + text
    found = read(text.format(A).encode(encoding))

    assert found.entries == [(name, A)]


HEADINGS = {
    "cs": "Mobilní telefon",
    "da": "Mobiltelefon",
    "el": "Κινητό τηλέφωνο",
    "es": "Teléfono móvil",
    "et": "Mobiiltelefon",
    "fi": "Matkapuhelin",
    "fr": "Tél. portable",
    "he": "טלפון נייד",
    "hr": "Mobitel",
    "hu": "Mobiltelefon",
    "it": "Cellulare",
    "ja": "携帯電話",
    "ko": "휴대폰",
    "lt": "Mobilusis telefonas",
    "lv": "Mobilais tālrunis",
    "nl": "Mobiele telefoon",
    "no": "Mobiltlf. (telefon)",
    "pl": "Telefon komórkowy",
    "pt": "Telemóvel",
    "pt-BR": "Celular",
    "ro": "Telefon mobil",
    "ru": "Сотовый",
    "sk": "Mobilný telefón",
    "sl": "Prenosni telefon",
    "sv": "Mobiltelefon",
    "th": "โทรศัพท์มือถือ",
    "tr": "Cep Telefonu",
    "uk": "Мобільний телефон",
    "vi": "Điện thoại di động",
    "zh": "手机",
    "zh-TW": "行動電話",
    "ar": "الهاتف الجوال",
    "fa": "تلفن همراه",
    "hi": "मोबाइल फ़ोन",
    "id": "Ponsel",
    "ca": "Telèfon mòbil",
    "ch": "Natel",
}


@pytest.mark.parametrize("heading", HEADINGS.values(), ids=HEADINGS)
def test_headings_of_many_languages_are_believed(heading: str) -> None:
    """Below a heading that names a phone, what is no number is told with its person."""
    found = read(f"Name,{heading},Fax\nAnn,ask her,\nBen,{A},{B}\n")

    assert found.entries == [("Ben", A), ("Ben", B)]
    assert [(fault.line, fault.name) for fault in found.faults] == [(2, "Ann")]


@pytest.mark.parametrize(
    "row",
    ["Bob,1-800-FLOWERS", "Bob,+1 800 356 9377 extension 7", 'Bob,"=""+18003569377"""', "Bob,"],
)
def test_a_first_row_is_a_person_however_her_number_is_written(row: str) -> None:
    """A header has a word over each column of numbers."""
    found = read(f"{row}\nAda,+1 415 555 0101\n")

    assert found.contacts == 2
    assert set(found.numbers_read) <= {"+18003569377", A}


def test_columns_that_are_about_phones() -> None:
    """One fault a column of a CRM export, and the country code is the country of the row."""
    rows = "".join(f"P{n},L,49,0151 1234567{n},False,home,x\n" for n in range(9))
    found = read(
        "First Name,Last Name,Phone Country Code,Phone,Has Opted Out Of Fax,Phone Type,Mobile\n"
        + rows
    )

    assert found.numbers_read == [f"+491511234567{n}" for n in range(9)]
    assert [(fault.line, fault.reason.split("'")[1]) for fault in found.faults] == [
        (2, "Has Opted Out Of Fax"),
        (2, "Mobile"),
    ]


def test_outlooks_many_columns() -> None:
    """Postal codes, dates and papers are no numbers; a number in a column of one's own is."""
    found = read(
        "First Name,Last Name,Home Postal Code,Home Phone,Mobile Phone,Telex,Anniversary,Birthday,"
        "Government ID Number,Organizational ID Number,Notes,Priority,User 1,Web Page\n"
        "Ann,Lee,94103-1234,(415) 555-0101,+49 1511 2345678,,0/0/00,1990/01/02,123456789,"
        '987654321,"met 2012-06-06, in 12345678",Normal,415 555 0100,https://example.com/12345678\n'
    )

    assert found == Read([("Ann Lee", A), ("Ann Lee", C), ("Ann Lee", B)], [], 1, 3)


def test_a_column_of_other_numbers_is_one_fault() -> None:
    """Customer numbers look like phone numbers, and a fault a row would say no more."""
    rows = "".join(f"P{n},1000000{n:02},+1415555{n:04}\n" for n in range(99))

    found = read("Wer,Was,Wo\n" + rows)
    named = read("Name,Customer ID,Phone\n" + rows)

    assert (found.contacts, found.numbers) == (99, 99)
    assert len(found.faults) == 1
    assert "column 'Was': 99 cells look like phone numbers and are none" in found.faults[0].reason
    assert (named.numbers, named.faults) == (99, [])


def test_odd_cells_among_many_numbers_are_told_one_by_one() -> None:
    """Up to a bound; what is beyond it is counted."""
    good = "".join(f"P{n},+1415555{n:04}\n" for n in range(60))
    bad = "".join(f"Q{n},+1 111 555 {n:04}\n" for n in range(30))

    found = read(f"Wer,Was\n{good}{bad}")

    assert (found.contacts, found.numbers) == (90, 60)
    assert [fault.name for fault in found.faults] == [*(f"Q{n}" for n in range(20)), ""]
    assert found.faults[-1].reason == "column 'Was': 10 more are no numbers"


def test_who_is_saved_under_a_number_is_found() -> None:
    """A name that is a number is one where there is no other."""
    assert read("Name,Phone\n+1 415 555 0101,\n+1 415 555 0100,+1 415 555 0100\n").entries == [
        ("+1 415 555 0101", A),
        ("+1 415 555 0100", B),
    ]
    assert read('{"name": "+1 415 555 0101"}').numbers_read == [A]
    assert read("BEGIN:VCARD\nFN:+1 415 555 0101\nEND:VCARD\n").numbers_read == [A]


def test_a_card_without_tel_tells_what_looks_like_one() -> None:
    """Properties of people's own invention are read where they name a phone, else reported."""
    found = read(
        "BEGIN:VCARD\nFN:Ann\nERREICHBAR:+1 415 555 0101\nEND:VCARD\n"
        "BEGIN:VCARD\nFN:Ben\nERREICHBAR:+1 415 555 0101\nTEL:+1 415 555 0100\nEND:VCARD\n"
        "BEGIN:VCARD\nLast name:Lee\nFirst name:Cat\nMobile number:+1 415 555 0100\nEND:VCARD\n"
    )

    assert found.entries == [("Ben", B), ("Cat Lee", B)]
    assert [(fault.line, fault.name) for fault in found.faults] == [(3, "Ann")]


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        ("+1 415 555 0101 / 415 555 0100", [A, B]),
        ("415 555 0101 or 415 555 0100", [A, B]),
        ("415 555 0101, 415 555 0100", [A, B]),
        ("415 555 0101;415 555 0100", [A, B]),
        ("tel:+14155550101;ext=5", [A]),
        ("+14155550101;;22", [A]),
        ("+14155550101/22", []),
    ],
)
def test_several_numbers_in_a_cell(cell: str, numbers: list[str]) -> None:
    """Numbers are divided by what people put between them; a pause and an extension divide none."""
    assert read(f'Name,Phone\nAnn,"{cell}"\n').numbers_read == numbers


def test_the_own_area_is_for_phones_only() -> None:
    """Seven digits below a name of a phone are of one's own area; elsewhere they are anything."""
    with Book() as book:
        table = b"Ref,Phone\n5550102,5550101\n"
        gather(read_contacts(io.BytesIO(table)), book, region="US", own_number=B)
        assert [entry.number for entry in book.entries()] == [14155550101]
        assert [fault.line for fault in book.faults()] == [2]


def test_own_numbers_are_left_out_in_every_form() -> None:
    """Who has two forms of a number asks about neither."""
    with Book() as book:
        gather(
            [contact("Me", "+54 11 2345 6789", "+54 9 11 2345 6789", "+14155550101")],
            book,
            region="AR",
            own_number="+5491123456789",
        )
        assert [entry.number for entry in book.entries()] == [14155550101]


def test_an_empty_file_is_none_compressed_or_not() -> None:
    """What holds nothing is said of a file with something in it, however it is packed."""
    for content in (b"", b" \n", gzip.compress(b""), gzip.compress(b"\n")):
        assert list(read_contacts(io.BytesIO(content))) == []
    for content in (b"<a/>", gzip.compress(b"<a/>")):
        (fault,) = read_contacts(io.BytesIO(content))
        assert isinstance(fault, Fault)
