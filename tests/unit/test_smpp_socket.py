"""The socket under SMPP: what left this host is told from what did not."""

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from sms.provider import Ambiguous, Unavailable
from sms.smpp.pdu_socket import ConnectionClosed, PduSocket
from sms.smpp.pdus import InvalidPdu, write

PDU = write("enquire_link", 7)


@pytest.fixture
def pair() -> Iterator[tuple[PduSocket, socket.socket]]:
    """Our end of a connection, and the other."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    pdus = PduSocket(ours)
    yield pdus, theirs
    pdus.close()
    theirs.close()


Pair = tuple[PduSocket, socket.socket]


def soon() -> float:
    """Give a moment that comes without being waited for long."""
    return time.monotonic() + 0.1


def test_pdus_in_pieces(pair: Pair) -> None:
    """PDUs are read whole, however they are cut on their way."""
    pdus, theirs = pair
    octets = PDU + write("submit_sm_resp", 8, message_id="4711") + PDU

    def trickle() -> None:
        for octet in octets:
            theirs.send(bytes((octet,)))

    thread = threading.Thread(target=trickle)
    thread.start()
    read = [pdus.read(5, 5) for _ in range(3)]
    thread.join()
    assert [header.sequence for header, _ in read] == [7, 8, 7]
    assert read[1][1] == b"4711\0"


def test_silence_is_not_half_a_pdu(pair: Pair) -> None:
    """Nothing at all is a time-out, which may be asked about; half a PDU is nonsense."""
    pdus, theirs = pair
    with pytest.raises(TimeoutError):
        pdus.read(0.05, 5)
    theirs.send(PDU[:3])
    with pytest.raises(InvalidPdu):
        pdus.read(5, 0.05)


def test_the_end_is_told(pair: Pair) -> None:
    """The other side's end is one, and so is half a PDU before it."""
    pdus, theirs = pair
    theirs.send(PDU + struct.pack(">L", 16))
    theirs.shutdown(socket.SHUT_WR)
    assert pdus.read(5, 5)[0].command == "enquire_link"
    with pytest.raises(ConnectionClosed):
        pdus.read(5, 5)


def test_a_part_may_have_arrived(pair: Pair) -> None:
    """What goes out in part is ambiguous, and ends the connection: nothing can follow it."""
    pdus, _ = pair
    with pytest.raises(Ambiguous):
        pdus.write(bytes(16 << 20), soon())
    with pytest.raises(Unavailable):
        pdus.write(PDU, soon())


def test_nothing_went_out_to_who_is_gone(pair: Pair) -> None:
    """When not an octet is taken it is unavailable, and another provider may have the text."""
    pdus, theirs = pair
    theirs.close()
    with pytest.raises(Unavailable):
        pdus.write(PDU, soon())


def test_nothing_goes_out_behind_half_a_pdu(pair: Pair) -> None:
    """Who waits for another's write to end writes nothing when its time is over."""
    pdus, theirs = pair
    failures = []

    def write_too_much() -> None:
        try:
            pdus.write(bytes(16 << 20), time.monotonic() + 30)
        except Ambiguous as fault:
            failures.append(fault)

    thread = threading.Thread(target=write_too_much)
    thread.start()
    theirs.recv(1)
    with pytest.raises(Unavailable) as caught:
        pdus.write(PDU, time.monotonic() + 0.05)
    theirs.close()
    thread.join()
    assert caught.value.error_code == "write-timeout"
    assert len(failures) == 1


def test_an_end_wakes_who_reads(pair: Pair) -> None:
    """A connection that is ended by another thread is not waited on."""
    pdus, _ = pair
    timer = threading.Timer(0.05, pdus.shutdown)
    timer.start()
    with pytest.raises(ConnectionAbortedError):
        pdus.read(60, 5)
    timer.join()
