"""Reads contact files: vCard, jCard, xCard, LDIF, tables, JSON, and the exports of Telegram, WhatsApp
and FRITZ!Box, compressed or not.

What cannot be read is yielded as a Fault with its line; the rest of the file is still read.
"""

from kith.contacts.contact import Contact, Fault, WrittenNumber
from kith.contacts.numbers import NumberUnreadable, normalise, readings, region_named, region_of
from kith.contacts.reader import Format, read_contacts

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
