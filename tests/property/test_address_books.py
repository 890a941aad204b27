"""Whatever bytes an address book consists of, reading it ends, and formats agree on what it holds."""

import csv
import gzip
import io
import json
from pathlib import Path
from xml.sax.saxutils import escape

from hypothesis import given, settings
from hypothesis import strategies as st

from kith.contacts import Contact, Fault, read_contacts
from kith.contacts.json_stream import JsonInvalid, JsonStream

DATA = Path(__file__).parents[1] / "data"
SAMPLES = [
    path.read_bytes()
    for folder in ("address_books", "vcards")
    for path in sorted((DATA / folder).iterdir())
]
PARTS = [
    *SAMPLES,
    b"[",
    b"{",
    b"]",
    b"}",
    b'"',
    b"\n",
    b"\x1f\x8b",
    b"<?xml ?>",
    b"\xff\xfe",
    b"+1,",
]


def read(content: bytes, name: str = "") -> list[Contact | Fault]:
    """Read all of it."""
    return list(read_contacts(io.BytesIO(content), name))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a file as it may come out of a broken disk: cut, joined, with bytes exchanged."""
    content = bytearray(b"".join(draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(content)))
        content[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(content[draw(st.integers(0, 3)) : draw(st.integers(0, len(content)))])


@settings(max_examples=300)
@given(damaged() | st.binary(max_size=300), st.sampled_from(["", "a.vcf", "a.xml", "a.ldif"]))
def test_no_bytes_make_the_readers_fail(content: bytes, name: str) -> None:
    """Contacts and faults come, with lines, whatever it is; compressed it is the same."""
    found = read(content, name)

    assert all(item.line >= 1 for item in found)
    if not content.startswith(b"\x1f\x8b"):
        assert read(gzip.compress(content), f"{name}.gz") == found


names = st.text("abcXYZ äß\u0416佐", min_size=1, max_size=8).map(
    lambda name: " ".join(name.split()) or "x"
)
people = st.lists(
    st.tuples(names, st.integers(1000, 9999).map(lambda n: f"+1415555{n}")), min_size=1, max_size=5
)


def as_csv(book: list[tuple[str, str]]) -> str:
    """Write a table."""
    output = io.StringIO()
    csv.writer(output, quoting=csv.QUOTE_ALL).writerows([("Name", "Phone"), *book])
    return output.getvalue()


FORMATS = {
    "csv": as_csv,
    "vcf": lambda book: "".join(
        f"BEGIN:VCARD\nFN:{name}\nTEL:{number}\nEND:VCARD\n" for name, number in book
    ),
    "ldif": lambda book: "\n".join(
        f"dn: x\ncn: {name}\nmobile: {number}\n" for name, number in book
    ),
    "jsonl": lambda book: "".join(
        json.dumps({"name": name, "phone": number}) + "\n" for name, number in book
    ),
    "json": lambda book: json.dumps([{"name": name, "phone": number} for name, number in book]),
    "telegram": lambda book: json.dumps(
        {"contacts": {"list": [{"first_name": name, "phone_number": n} for name, n in book]}},
        indent=1,
    ),
    "jcard": lambda book: json.dumps(
        [
            ["vcard", [["fn", {}, "text", name], ["tel", {}, "uri", f"tel:{number}"]]]
            for name, number in book
        ]
    ),
    "xcard": lambda book: (
        "<?xml version='1.0'?><vcards>"
        + "".join(
            f"<vcard><fn><text>{escape(name)}</text></fn><tel><uri>tel:{number}</uri></tel></vcard>"
            for name, number in book
        )
        + "</vcards>"
    ),
    "fritz": lambda book: (
        "<?xml version='1.0'?><phonebooks><phonebook>"
        + "".join(
            f"<contact><person><realName>{escape(name)}</realName></person><telephony>"
            f"<number>{number}</number></telephony></contact>"
            for name, number in book
        )
        + "</phonebook></phonebooks>"
    ),
}


@given(people, st.sampled_from(sorted(FORMATS)), st.sampled_from(["utf-8", "utf-16"]))
def test_formats_agree(book: list[tuple[str, str]], form: str, encoding: str) -> None:
    """The same people, however they were exported."""
    found = read(FORMATS[form](book).encode(encoding), f"book.{form}")

    assert [
        (one.name, [number.text.removeprefix("tel:") for number in one.numbers])
        for one in found
        if isinstance(one, Contact)
    ] == [(name, [number]) for name, number in book]
    assert len(found) == len(book)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
)


@given(st.lists(values, max_size=4), st.integers(1, 7), st.booleans())
def test_json_is_read_whole_from_pieces(items: list[object], size: int, indent: bool) -> None:
    """Values that are taken are the standard library's, wherever a block ends; skipped ones go by."""
    text = json.dumps(items, indent=1 if indent else None, ensure_ascii=False)
    content = text.encode("utf-8", "surrogatepass")
    blocks = [content[n : n + size] for n in range(0, len(content), size)]

    reader = JsonStream(blocks)
    assert [reader.value() for _ in reader.items()] == json.loads(
        content.decode("utf-8", "replace")
    )
    reader = JsonStream(blocks)
    for _ in reader.items():
        reader.skip()
    assert reader.peek() == ""
    assert reader.line == text.count("\n") + 1
    cut = JsonStream([content[:-1]])
    try:
        for _ in cut.items():
            cut.skip()
    except JsonInvalid:
        return
    raise AssertionError("half a document was taken for a whole one")
