"""Delivery receipts in deliver_sm (SMPP 3.4, 5.3.2 and appendix B).

Only a PDU that is marked as a receipt is one: a person may text `id:… stat:DELIVRD` too.
"""

import re
from typing import Literal, NamedTuple

from smpplib import consts

from sms.smpp.codes import STATE_NAMES, STATUSES
from sms.smpp.pdus import PduBody

#: How texts of receipts write message ids: as the submit_sm_resp did, in decimal where that was hexadecimal,
#: or in hexadecimal where that was decimal.
ReceiptIds = Literal["same", "decimal", "hex"]
MAX_ID_LENGTH = 64

_TEXT_BASES = {"same": None, "decimal": 10, "hex": 16}
_RESPONSE_BASES = {"same": None, "decimal": 16, "hex": 10}
_DIGITS = {10: "[0-9]+", 16: "[0-9A-Fa-f]+"}

#: Bits 2 to 5 of esm_class: SMSC delivery receipts and intermediate notifications (5.2.12).
_MESSAGE_TYPE = 0b00111100
_RECEIPT_TYPES = frozenset({0b00000100, 0b00100000})
_RECEIPTED_MESSAGE_ID = consts.OPTIONAL_PARAMS["receipted_message_id"]
_MESSAGE_STATE = consts.OPTIONAL_PARAMS["message_state"]
_NETWORK_ERROR_CODE = consts.OPTIONAL_PARAMS["network_error_code"]
_MESSAGE_PAYLOAD = consts.OPTIONAL_PARAMS["message_payload"]

_ID = re.compile(r"\bid:\s*([!-~]{1,64})(?=\s|$)", re.IGNORECASE)
_STATE = re.compile(r"\bstat:\s*([A-Z]{1,8})\b", re.IGNORECASE)
_ERROR = re.compile(r"\berr:\s*([0-9A-Za-z]{1,8})\b", re.IGNORECASE)
#: The start of the message text follows, which is not part of the receipt.
_TEXT = re.compile(r"\btext:", re.IGNORECASE)


class Receipt(NamedTuple):
    """A receipt: our status, None if the state means nothing to us, and the SMSC's state and error."""

    message_id: str
    status: str | None
    error_code: str


def is_receipt(body: PduBody) -> bool:
    """Return whether a deliver_sm is a receipt and not a person's text."""
    return body.fields["esm_class"] & _MESSAGE_TYPE in _RECEIPT_TYPES


def read_receipt(body: PduBody, ids: ReceiptIds) -> Receipt | None:
    """Parse a receipt; None if it has no message id or no state.

    receipted_message_id and message_state take precedence over the text. The former is written as in the
    response, the text's id as `ids` says.
    """
    text = _TEXT.split(_text(body), maxsplit=1)[0]
    option = body.options.get(_RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0").decode("ascii", "replace")
    if re.fullmatch("[!-~]{1,64}", option):
        message_id = canonical_id(option, ids)
    elif found := _ID.search(text):
        message_id = _rewrite(found[1], _TEXT_BASES[ids])
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
    """Return the id of a response in a form that equals the id in the text of a receipt."""
    return _rewrite(message_id, _RESPONSE_BASES[ids])


def _rewrite(message_id: str, base: int | None) -> str:
    """Return a number of a base in decimal, without leading zeros; anything else unchanged."""
    if base is None or not re.fullmatch(_DIGITS[base], message_id):
        return message_id
    number = int(message_id, base)
    # 64 hexadecimal digits would be longer than an id may be.
    return str(number) if number < 10**MAX_ID_LENGTH else message_id


def _text(body: PduBody) -> str:
    octets = body.fields["short_message"] or body.options.get(_MESSAGE_PAYLOAD, b"")
    utf16 = body.fields["data_coding"] == consts.SMPP_ENCODING_ISO10646
    text: str = octets.decode("utf-16-be" if utf16 else "latin-1", "replace")
    return text


def _error(body: PduBody, text: str) -> str | None:
    """Return the network error; the option holds the type of network and 16 bits."""
    option = body.options.get(_NETWORK_ERROR_CODE, b"")
    if len(option) == 3:
        return str(int.from_bytes(option[1:]))
    found = _ERROR.search(text)
    return found[1] if found else None
