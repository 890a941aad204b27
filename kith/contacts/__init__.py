"""Own the reading of contact files: vCard 2.1, 3.0, 4.0, CSV and JSON lines in, names with
numbers out.

Refuse to stop at anything odd: what cannot be read is yielded as a Fault with its place, and costs
nothing else.
"""

from kith.contacts.found import Contact, Fault, WrittenNumber
from kith.contacts.numbers import NumberUnreadable, normalise, region_of
from kith.contacts.reading import Format, read_contacts

__all__ = [
    "Contact",
    "Fault",
    "Format",
    "NumberUnreadable",
    "WrittenNumber",
    "normalise",
    "read_contacts",
    "region_of",
]
