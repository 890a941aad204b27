"""Own the choice of the reader for a contact file, by its content first and its name second."""

import itertools
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal

from kith.contacts.found import Contact, Fault
from kith.contacts.lines import Line, physical_lines
from kith.contacts.records import read_records
from kith.contacts.table import read_table
from kith.contacts.vcard import read_vcards

SAMPLE_LINES = 50

Format = Literal["vcard", "csv", "jsonl"]

_WORKBOOK = b"PK\x03\x04"
_READERS = {"vcard": read_vcards, "csv": read_table, "jsonl": read_records}
_ENDINGS: dict[str, Format] = {
    "vcf": "vcard",
    "vcard": "vcard",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
}


def read_contacts(
    stream: BinaryIO, name: str = "", *, form: Format | None = None
) -> Iterator[Contact | Fault]:
    """Yield every contact of a vCard, CSV or JSON lines stream as it is read, and a Fault for what
    cannot be read.

    name: the file's name, whose ending decides when the content does not. form: how to read it
    whatever its content looks like. Memory stays bounded by the longest card or row, without
    photos. Raise only what reading the stream itself raises (OSError).
    """
    lines = physical_lines(stream)
    sample = list(itertools.islice(lines, SAMPLE_LINES))
    everything = itertools.chain(sample, lines)
    if sample and sample[0].content.startswith(_WORKBOOK):
        yield Fault(1, "this is a workbook or an archive; export it as CSV or vCard")
    else:
        yield from _READERS[form or _form_of(sample, name)](everything)


def _form_of(sample: Sequence[Line], name: str) -> Format:
    starts = [start for line in sample if (start := line.content[:64].lstrip().upper())]
    if any(start.startswith(b"BEGIN:VCARD") for start in starts):
        return "vcard"
    if starts and starts[0].startswith(b"{"):
        return "jsonl"
    return _ENDINGS.get(name.lower().rpartition(".")[2], "csv")
