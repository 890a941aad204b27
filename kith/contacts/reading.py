"""Own the choice of the reader for a contact file, by its content first and its name second."""

import itertools
from collections.abc import Iterator
from typing import BinaryIO

from kith.contacts.found import Contact, Fault
from kith.contacts.lines import physical_lines
from kith.contacts.table import read_table
from kith.contacts.vcard import read_vcards

SAMPLE_LINES = 50

_WORKBOOK = b"PK\x03\x04"


def read_contacts(stream: BinaryIO, name: str = "") -> Iterator[Contact | Fault]:
    """Yield every contact of a vCard or CSV stream as it is read, and a Fault for what cannot be
    read.

    name: the file's name, whose ending decides when the content does not. Memory stays bounded by
    the longest card or row, without photos. Raise only what reading the stream itself raises
    (OSError).
    """
    lines = physical_lines(stream)
    sample = list(itertools.islice(lines, SAMPLE_LINES))
    everything = itertools.chain(sample, lines)
    starts = [line.content[:64].lstrip().upper() for line in sample]
    if starts and starts[0].startswith(_WORKBOOK):
        yield Fault(1, "this is a workbook or an archive; export it as CSV or vCard")
    elif any(start.startswith(b"BEGIN:VCARD") for start in starts) or name.lower().endswith(
        (".vcf", ".vcard")
    ):
        yield from read_vcards(everything)
    else:
        yield from read_table(everything)
