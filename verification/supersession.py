"""Supersession: a start ends the older verifications that its sender names, and nobody else's.

An address names nobody: thousands of people share one. Natively the sender is unknown, and names a
verification by its id, which nobody else has. At another door the sender is known: a service, a Matrix user.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, update

from core.database import table
from verification.models import Verification
from verification.problems import VerificationNotFound
from verification.store import VerificationKey

_ROWS = table(Verification)
_CANCEL_NAMED = (
    update(_ROWS)
    .where(
        _ROWS.c.number_digest == bindparam("digest"),
        _ROWS.c.nonce == bindparam("half"),
        _ROWS.c.nonce != bindparam("newest"),
        _ROWS.c.service.is_(None),
        _ROWS.c.status == "pending",
        _ROWS.c.expires_at > bindparam("at"),
    )
    .values(status="canceled")
)
_CANCEL_OF_SENDER = (
    update(_ROWS)
    .where(
        _ROWS.c.number_digest == bindparam("digest"),
        _ROWS.c.nonce != bindparam("newest"),
        _ROWS.c.started_by == bindparam("sender"),
        _ROWS.c.status == "pending",
        _ROWS.c.expires_at > bindparam("at"),
        # Of two starts at once the later one stays.
        _ROWS.c.created_at <= bindparam("at"),
    )
    .values(status="canceled")
)


@dataclass(frozen=True)
class Supersession:
    """What a start ends: pending verifications, for a right code ends proofs (verification/proofs.py)."""

    #: The number's digests under every accepted secret: what its sender started of it, at another door.
    number_digests: Sequence[bytes] = ()
    #: The verification that is named, of whichever number.
    named: VerificationKey | None = None

    @classmethod
    def of(cls, number_digests: Sequence[bytes], verification_id: str | None) -> "Supersession":
        """Build what a start ends; an id that cannot be one names nothing, and is no reason to refuse."""
        try:
            named = VerificationKey.parse(verification_id) if verification_id else None
        except VerificationNotFound:
            named = None
        return cls(number_digests, named)


#: What a resend ends.
NOTHING = Supersession()


def supersede(connection: Connection, newest: Verification, ended: Supersession) -> None:
    """End what a start names; what is over, unknown or another door's stays as it is."""
    if newest.started_by is not None:
        for digest in ended.number_digests:
            values = {
                "digest": digest,
                "newest": newest.nonce,
                "sender": newest.started_by,
                "at": newest.created_at,
            }
            connection.execute(_CANCEL_OF_SENDER, values)
    elif ended.named is not None:
        values = {
            "digest": ended.named.number_digest,
            "half": ended.named.nonce,
            "newest": newest.nonce,
            "at": newest.created_at,
        }
        connection.execute(_CANCEL_NAMED, values)
