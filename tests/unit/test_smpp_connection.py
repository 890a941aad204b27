"""A connection whose other side is gone: nothing was written, so nothing was submitted."""

import socket

import pytest
from smpplib import consts

from sms.provider import Unavailable
from sms.smpp.connection import SmppConnection, SmppTimeouts
from sms.smpp.pdu_socket import PduSocket


class Nobody:
    """An inbox that nothing may come to."""

    def handle_deliver_sm(self, *_: object) -> None:
        """Refuse whatever it is."""
        raise AssertionError

    handle_late_response = handle_deliver_sm


def test_nothing_is_submitted_to_who_is_gone() -> None:
    """Before the end is even noticed, a text fails for certain; then the connection says that it ended."""
    ours, theirs = socket.socketpair()
    connection = SmppConnection(PduSocket(ours), SmppTimeouts(5, 5, 60), 1, Nobody())
    theirs.close()
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            connection.submit("reference", 0, short_message=b"a text")
        assert caught.value.error_code == "connection-lost"
    connection.answer("deliver_sm_resp", 1, consts.SMPP_ESME_ROK)
    assert connection.run() == "connection-lost"
    with pytest.raises(Unavailable):
        connection.submit("reference", 0, short_message=b"a text")
