"""What command_status (SMPP 3.4, 5.1.3) and message states (5.2.28) mean for a send.

A status in none of the tables is a fault of our account or request, for the operator to fix.
"""

import structlog
from smpplib import consts

from sms.provider import Blocked, Rejected, SendFailure, Unavailable

log = structlog.get_logger()

#: The number itself cannot receive it.
REJECTED = frozenset({consts.SMPP_ESME_RINVDSTADR})
#: The SMSC forbids the destination or the text.
BLOCKED = frozenset({consts.SMPP_ESME_RX_R_APPN})
#: Temporary; it resolves itself and is not logged as an error.
BUSY = frozenset(
    {
        consts.SMPP_ESME_RSYSERR,
        consts.SMPP_ESME_RMSGQFUL,
        consts.SMPP_ESME_RTHROTTLED,
        consts.SMPP_ESME_RX_T_APPN,
    }
)

#: The states of receipts by message_state; those after REJECTED are SMPP 5.0's.
STATE_NAMES = {
    0: "SCHEDULD",
    consts.SMPP_MESSAGE_STATE_ENROUTE: "ENROUTE",
    consts.SMPP_MESSAGE_STATE_DELIVERED: "DELIVRD",
    consts.SMPP_MESSAGE_STATE_EXPIRED: "EXPIRED",
    consts.SMPP_MESSAGE_STATE_DELETED: "DELETED",
    consts.SMPP_MESSAGE_STATE_UNDELIVERABLE: "UNDELIV",
    consts.SMPP_MESSAGE_STATE_ACCEPTED: "ACCEPTD",
    consts.SMPP_MESSAGE_STATE_UNKNOWN: "UNKNOWN",
    consts.SMPP_MESSAGE_STATE_REJECTED: "REJECTD",
    9: "SKIPPED",
}
#: Our status for each state; others change nothing. `undelivered`: the network could not deliver it.
#: `failed`: the SMSC gave it up.
STATUSES = {
    "SCHEDULD": "sent",
    "ENROUTE": "sent",
    "ACCEPTD": "sent",
    "DELIVRD": "delivered",
    "UNDELIV": "undelivered",
    "EXPIRED": "undelivered",
    "DELETED": "failed",
    "REJECTD": "failed",
    "SKIPPED": "failed",
}

_NAMES: dict[int, str] = {
    number: name.removeprefix("SMPP_")
    for name, number in vars(consts).items()
    if name.startswith("SMPP_ESME_")
}


def status_name(status: int) -> str:
    """Return the name of a command_status in the specification; a vendor's own in hexadecimal."""
    return _NAMES.get(status, f"0x{status:08X}")


def send_failure(status: int) -> SendFailure:
    """Return the failure for a status other than ESME_ROK; the request was certainly refused."""
    name = status_name(status)
    if status in REJECTED:
        return Rejected(name)
    if status in BLOCKED:
        return Blocked(name)
    if status not in BUSY:
        log.error("smpp.refused", error_code=name)
    return Unavailable(name)
