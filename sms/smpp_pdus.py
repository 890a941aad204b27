"""PDUs of SMPP 3.4: written with smpplib, read strictly by its tables of fields.

Owns what crosses the wire. Refuses to believe it: a length, a missing terminator and a field that ends
behind its PDU are faults. smpplib's own parser guesses at those, stops at optional parameters that a PDU
is not known for, and cuts the last character of an id that is not terminated.
"""

import struct
from dataclasses import dataclass
from typing import Any

from smpplib import command, consts, smpp
from smpplib.command_codes import commands

HEADER_SIZE = 16
#: The largest body of a message_payload, and the rest of its deliver_sm.
MAX_PDU_BYTES = 70_000
RESPONSE_BIT = 0x80000000

_HEADER = struct.Struct(">LLLL")
_OPTION = struct.Struct(">HH")
_NAMES: dict[int, str] = {number: name for name, number in commands.items()}


class InvalidPdu(ValueError):
    """What came is not SMPP; nothing that follows can be trusted either."""


@dataclass(frozen=True, repr=False)
class PduHeader:
    """The head of one PDU: `command` is its name, None for a request that SMPP 3.4 does not have."""

    length: int
    command: str | None
    status: int
    sequence: int


@dataclass(frozen=True, repr=False)
class PduBody:
    """The fields of one PDU: mandatory ones by name, optional ones by tag."""

    fields: dict[str, Any]
    options: dict[int, bytes]


def write(name: str, sequence: int, **fields: object) -> bytes:
    """Write a PDU."""
    pdu = smpp.make_pdu(name, sequence=sequence, **fields)
    # smpplib takes its dummy client's number for one that was given.
    pdu.sequence = sequence
    octets: bytes = pdu.generate()
    return octets


def read_header(octets: bytes) -> PduHeader:
    """Read the first 16 octets of a PDU; raises InvalidPdu when they cannot begin one."""
    length, number, status, sequence = _HEADER.unpack(octets)
    name = _NAMES.get(number)
    if not HEADER_SIZE <= length <= MAX_PDU_BYTES:
        raise InvalidPdu("a length that no PDU has")
    if name is None and number & RESPONSE_BIT:
        raise InvalidPdu("an answer to what nobody asks")
    return PduHeader(length, name, status, sequence)


def read_body(name: str, octets: bytes) -> PduBody:
    """Read what follows the header of a PDU of that name; raises InvalidPdu."""
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
            raise InvalidPdu("a field that does not end")
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
            raise InvalidPdu("half an optional parameter")
        tag, size = _OPTION.unpack(octets[position:start])
        position = start + size
        if position > len(octets):
            raise InvalidPdu("an optional parameter that does not end")
        options[tag] = octets[start:position]
    return options
