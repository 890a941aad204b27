"""PDUs: what is written is read back, and whatever else comes is nonsense and nothing worse."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.smpp.pdus import HEADER_SIZE, MAX_PDU_BYTES, InvalidPdu, read_body, read_header, write
from sms.smpp.receipts import is_receipt, read_receipt


@given(st.integers(1, 0x7FFFFFFF), st.integers(0, 255), st.binary(max_size=254))
def test_what_is_written_is_read(sequence: int, coding: int, text: bytes) -> None:
    """Numbers, addresses and octets survive, zeros in them too."""
    octets = write(
        "submit_sm", sequence, data_coding=coding, source_addr="Kith", short_message=text
    )
    header = read_header(octets[:HEADER_SIZE])
    assert (header.length, header.command) == (len(octets), "submit_sm")
    assert (header.status, header.sequence) == (0, sequence)
    body = read_body("submit_sm", octets[HEADER_SIZE:])
    assert body.fields["short_message"] == text
    assert (body.fields["data_coding"], body.fields["source_addr"]) == (coding, b"Kith")
    assert body.options == {}


@given(st.binary(min_size=HEADER_SIZE, max_size=HEADER_SIZE))
def test_headers_are_not_believed(octets: bytes) -> None:
    """Of any 16 octets a PDU of a bounded size begins with, or none does."""
    try:
        header = read_header(octets)
    except InvalidPdu:
        return
    assert HEADER_SIZE <= header.length <= MAX_PDU_BYTES


@pytest.mark.parametrize("length", [0, 15, MAX_PDU_BYTES + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_lengths_that_no_pdu_has(length: int) -> None:
    """Neither less than a header nor more than the largest PDU is waited for."""
    with pytest.raises(InvalidPdu):
        read_header(struct.pack(">LLLL", length, 4, 0, 1))


@given(
    st.sampled_from(["deliver_sm", "submit_sm_resp"]),
    st.binary(max_size=100) | st.lists(st.sampled_from([b"\0", b"\xff", b"id:1 "])).map(b"".join),
)
def test_bodies_are_not_believed(name: str, octets: bytes) -> None:
    """Any octets are a body or nonsense, and any delivery is a receipt or none."""
    try:
        body = read_body(name, octets)
    except InvalidPdu:
        return
    if name == "deliver_sm" and is_receipt(body):
        for ids in ("same", "decimal", "hex"):
            read_receipt(body, ids)


def test_cut_bodies_are_nonsense() -> None:
    """Wherever a body ends before its last field does, it is refused."""
    octets = write("deliver_sm", 1, short_message=b"id:1", source_addr="49")[HEADER_SIZE:]
    assert read_body("deliver_sm", octets).fields["short_message"] == b"id:1"
    for size in range(len(octets)):
        with pytest.raises(InvalidPdu):
            read_body("deliver_sm", octets[:size])


@pytest.mark.parametrize("options", [b"\0", b"\0\x1e\0", b"\0\x1e\0\x02a", b"\0\x1e\xff\xff"])
def test_cut_options_are_nonsense(options: bytes) -> None:
    """An optional parameter that is longer than what is there is refused."""
    octets = write("submit_sm_resp", 1, message_id="1")[HEADER_SIZE:]
    with pytest.raises(InvalidPdu):
        read_body("submit_sm_resp", octets + options)
