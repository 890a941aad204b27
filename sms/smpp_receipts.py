"""Delivery receipts: what a deliver_sm says of which message (SMPP 3.4, 5.3.2 and appendix B).

Owns the way from the SMSC's words to ours. Refuses what is not marked as a receipt, whatever it says: a
person may text `id:… stat:DELIVRD` too.
"""

import re
from typing import Literal, NamedTuple

from smpplib import consts

from sms.smpp_codes import STATE_NAMES, STATUSES
from sms.smpp_pdus import PduBody

#: How the texts of receipts write the id of a message: as the answer to the submit did, or in decimal
#: what the answer wrote in hexadecimal, or the other way round.
ReceiptIds = Literal["same", "decimal", "hex"]
MAX_ID_LENGTH = 64

_TEXT_BASES = {"same": None, "decimal": 10, "hex": 16}
_ANSWER_BASES = {"same": None, "decimal": 16, "hex": 10}
_DIGITS = {10: "[0-9]+", 16: "[0-9A-Fa-f]+"}

#: Bits 2 to 5 of esm_class; SMSC delivery receipts and intermediate notifications are ours (5.2.12).
_MESSAGE_TYPE = 0b00111100
_RECEIPT_TYPES = frozenset({0b00000100, 0b00100000})
_RECEIPTED_MESSAGE_ID = consts.OPTIONAL_PARAMS["receipted_message_id"]
_MESSAGE_STATE = consts.OPTIONAL_PARAMS["message_state"]
_NETWORK_ERROR_CODE = consts.OPTIONAL_PARAMS["network_error_code"]
_MESSAGE_PAYLOAD = consts.OPTIONAL_PARAMS["message_payload"]

_ID = re.compile(r"\bid:\s*([!-~]{1,64})(?=\s|$)", re.IGNORECASE)
_STATE = re.compile(r"\bstat:\s*([A-Z]{1,8})\b", re.IGNORECASE)
_ERROR = re.compile(r"\berr:\s*([0-9A-Za-z]{1,8})\b", re.IGNORECASE)
#: What follows is the beginning of the message, and no concern of ours.
_TEXT = re.compile(r"\btext:", re.IGNORECASE)


class Receipt(NamedTuple):
    """What is said of one message: our status, None when nothing is told, and the SMSC's words."""

    message_id: str
    status: str | None
    error_code: str


def is_receipt(body: PduBody) -> bool:
    """Say whether a deliver_sm is a receipt of the SMSC and not the text of a person."""
    return body.fields["esm_class"] & _MESSAGE_TYPE in _RECEIPT_TYPES


def read_receipt(body: PduBody, ids: ReceiptIds) -> Receipt | None:
    """Read a receipt; None when it does not say what of which message.

    receipted_message_id and message_state count for more than the text. The first is spelled as the
    answer's id was, the text's id as `ids` says.
    """
    text = _TEXT.split(_text(body), maxsplit=1)[0]
    option = body.options.get(_RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0").decode("ascii", "replace")
    if re.fullmatch("[!-~]{1,64}", option):
        message_id = canonical_id(option, ids)
    elif found := _ID.search(text):
        message_id = _respell(found[1], _TEXT_BASES[ids])
    else:
        return None
    number = body.options.get(_MESSAGE_STATE)
    found = _STATE.search(text)
    state = STATE_NAMES.get(int.from_bytes(number)) if number else found and found[1].upper()
    if state is None:
        return None
    error = _error(body, text)
    return Receipt(message_id, STATUSES.get(state), f"{state}-{error}" if error else state)


def canonical_id(message_id: str, ids: ReceiptIds) -> str:
    """Spell the id of an answer so that the one in the text of a receipt can be compared with it."""
    return _respell(message_id, _ANSWER_BASES[ids])


def _respell(message_id: str, base: int | None) -> str:
    """Write a number of a base in decimal, without leading zeros; leave what is none as it is."""
    if base is None or not re.fullmatch(_DIGITS[base], message_id):
        return message_id
    number = int(message_id, base)
    # As many digits as an id may have: 64 hexadecimal ones would be more.
    return str(number) if number < 10**MAX_ID_LENGTH else message_id


def _text(body: PduBody) -> str:
    octets = body.fields["short_message"] or body.options.get(_MESSAGE_PAYLOAD, b"")
    utf16 = body.fields["data_coding"] == consts.SMPP_ENCODING_ISO10646
    text: str = octets.decode("utf-16-be" if utf16 else "latin-1", "replace")
    return text


def _error(body: PduBody, text: str) -> str | None:
    """Find the network's error: of the option, a kind of network and a number of 16 bits."""
    option = body.options.get(_NETWORK_ERROR_CODE, b"")
    if len(option) == 3:
        return str(int.from_bytes(option[1:]))
    found = _ERROR.search(text)
    return found[1] if found else None
