"""Counters while the server secret is rotated: they move from the digest under the previous secret.

Otherwise a rotation would give everyone fresh limits.
"""

from sqlalchemy import Connection

from core import rate_limits
from core.requester import Requester
from core.secrets import Keyring
from verification.limits import SENDS_BY_SERVICE
from verification.models import Verification
from verification.policy.counters import sends_subject
from verification.policy.rules import BUCKET_NAMES

_OF_NUMBER = (BUCKET_NAMES["number"], BUCKET_NAMES["reserve-number"])
_OF_NUMBER_AND_REQUESTER = (BUCKET_NAMES["number-and-requester"], SENDS_BY_SERVICE)
_OF_NETWORK = (BUCKET_NAMES["network"],)


def carry_over(
    connection: Connection, numbers: list[bytes], requesters: list[bytes] | None = None
) -> None:
    """Move the counters of a number, and of a requester, to their current digests.

    numbers, requesters: the digests under every accepted secret, the current one first.
    """
    if len(numbers) > 1:
        rate_limits.transfer(connection, ("wrong-codes", *_OF_NUMBER), numbers)
        if requesters:
            subjects = [sends_subject(*pair) for pair in zip(numbers, requesters, strict=True)]
            rate_limits.transfer(connection, _OF_NUMBER_AND_REQUESTER, subjects)
            rate_limits.transfer(connection, _OF_NETWORK, requesters)


def carry_back(
    connection: Connection, keyring: Keyring, row: Verification, requester: Requester
) -> None:
    """Move the counters back for a resend of a verification from before the rotation.

    Its sends are counted under its own digests; a later start moved the counters from there.
    """
    numbers = keyring.digests("number", row.e164)
    if row.number_digest not in numbers[1:]:
        return
    rate_limits.transfer(connection, _OF_NUMBER, [row.number_digest, numbers[0]])
    networks = keyring.digests("requester", requester.network)
    if row.requester in networks:
        before = sends_subject(row.number_digest, row.requester)
        now = sends_subject(numbers[0], networks[0])
        rate_limits.transfer(connection, _OF_NUMBER_AND_REQUESTER, [before, now])
        rate_limits.transfer(connection, _OF_NETWORK, [row.requester, networks[0]])
