"""PDUs of SMPP 3.4: written with smpplib, parsed strictly by its tables of fields.

smpplib's own parser guesses at wrong lengths and missing terminators, stops at optional parameters that it
does not expect, and cuts the last character of an unterminated id.
"""

import struct
from dataclasses import dataclass
from typing import Any

from smpplib import command, consts, smpp
from smpplib.command_codes import commands

HEADER_SIZE = 16
#: A deliver_sm with the largest message_payload fits.
MAX_PDU_BYTES = 70_000
RESPONSE_BIT = 0x80000000

_HEADER = struct.Struct(">LLLL")
_OPTION = struct.Struct(">HH")
_NAMES: dict[int, str] = {number: name for name, number in commands.items()}


class InvalidPdu(ValueError):
    """The data is not valid SMPP, so nothing after it can be parsed either."""


@dataclass(frozen=True, repr=False)
class PduHeader:
    """The header of a PDU; `command` is None for a request that SMPP 3.4 does not define."""

    length: int
    command: str | None
    status: int
    sequence: int


@dataclass(frozen=True, repr=False)
class PduBody:
    """The fields of a PDU: mandatory ones by name, optional ones by tag."""

    fields: dict[str, Any]
    options: dict[int, bytes]


def write(name: str, sequence: int, **fields: object) -> bytes:
    """Return the octets of a PDU."""
    pdu = smpp.make_pdu(name, sequence=sequence, **fields)
    # smpplib overwrites the sequence with that of its dummy client.
    pdu.sequence = sequence
    octets: bytes = pdu.generate()
    return octets


def read_header(octets: bytes) -> PduHeader:
    """Parse the first 16 octets of a PDU; raises InvalidPdu."""
    length, number, status, sequence = _HEADER.unpack(octets)
    name = _NAMES.get(number)
    if not HEADER_SIZE <= length <= MAX_PDU_BYTES:
        raise InvalidPdu("an invalid length")
    if name is None and number & RESPONSE_BIT:
        raise InvalidPdu("a response of an unknown kind")
    return PduHeader(length, name, status, sequence)


def read_body(name: str, octets: bytes) -> PduBody:
    """Parse the body of a PDU of that name; raises InvalidPdu."""
    shape = command.factory(name, sequence=0)
    fields: dict[str, Any] = {}
    position = 0
    for field in shape.params_order:
        if field in consts.OPTIONAL_PARAMS:
            break
        parameter = shape.params[field]
        if parameter.type is str:
            end = octets.find(b"\0", position)
            after = end + 1
        else:
            size = parameter.size if parameter.type is int else fields[parameter.len_field]
            end = after = position + size
        if end < position or end > len(octets):
            raise InvalidPdu("an unterminated field")
        value = octets[position:end]
        fields[field] = int.from_bytes(value) if parameter.type is int else value
        position = after
    return PduBody(fields, _read_options(octets[position:]))


def _read_options(octets: bytes) -> dict[int, bytes]:
    options = {}
    position = 0
    while position < len(octets):
        start = position + _OPTION.size
        if start > len(octets):
            raise InvalidPdu("an incomplete optional parameter")
        tag, size = _OPTION.unpack(octets[position:start])
        position = start + size
        if position > len(octets):
            raise InvalidPdu("an optional parameter longer than its PDU")
        options[tag] = octets[start:position]
    return options
