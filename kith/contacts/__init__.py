"""Contact files in, names with numbers out: vCard, jCard, xCard, LDIF, tables, JSON, and the exports
of Telegram, WhatsApp and FRITZ!Box, compressed or not.

Nothing odd stops the reading: what cannot be read is yielded as a Fault with its place, and costs
nothing else.
"""

from kith.contacts.found import Contact, Fault, WrittenNumber
from kith.contacts.numbers import NumberUnreadable, normalise, readings, region_named, region_of
from kith.contacts.reading import Format, read_contacts

__all__ = [
    "Contact",
    "Fault",
    "Format",
    "NumberUnreadable",
    "WrittenNumber",
    "normalise",
    "read_contacts",
    "readings",
    "region_named",
    "region_of",
]
