"""Supersession: a start cancels older pending verifications of its own sender.

An address names nobody: thousands of people share one. Natively the sender is unknown, and names a
verification by its id, which nobody else has. Behind a protocol adapter the sender is a service or a Matrix
user. Proofs are voided elsewhere, by the next right code (proofs.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, update

from core.database import table
from verification.models import Verification
from verification.problems import VerificationNotFound
from verification.store import VerificationKey

_ROWS = table(Verification)
_CANCEL = (
    update(_ROWS)
    .where(
        _ROWS.c.number_digest == bindparam("key_number_digest"),
        _ROWS.c.nonce != bindparam("new_nonce"),
        _ROWS.c.status == "pending",
        _ROWS.c.expires_at > bindparam("new_created_at"),
    )
    .values(status="canceled")
)
UPDATE_NAMED = _CANCEL.where(_ROWS.c.nonce == bindparam("old_nonce"), _ROWS.c.service.is_(None))
UPDATE_OF_SENDER = _CANCEL.where(
    _ROWS.c.started_by == bindparam("sender"),
    # Of two starts at once the later one stays.
    _ROWS.c.created_at <= bindparam("new_created_at"),
)


@dataclass(frozen=True)
class Supersession:
    """Which verifications a start cancels; a resend cancels none."""

    #: The number's digests under every accepted secret, for a sender that is known.
    number_digests: Sequence[bytes] = ()
    #: The verification that a native request names, of whichever number.
    named: VerificationKey | None = None

    @classmethod
    def of(cls, number_digests: Sequence[bytes], verification_id: str | None) -> "Supersession":
        """Build it from a request; an id that cannot be one names nothing and refuses nothing."""
        try:
            named = VerificationKey.parse(verification_id) if verification_id else None
        except VerificationNotFound:
            named = None
        return cls(number_digests, named)


NOTHING = Supersession()


def supersede(connection: Connection, new: Verification, superseded: Supersession) -> None:
    """Cancel what a start supersedes; unknown and closed verifications, and other services', stay."""
    values = {"new_nonce": new.nonce, "new_created_at": new.created_at}
    if new.started_by is not None:
        for digest in superseded.number_digests:
            connection.execute(
                UPDATE_OF_SENDER, values | {"key_number_digest": digest, "sender": new.started_by}
            )
    elif superseded.named is not None:
        named = superseded.named
        connection.execute(
            UPDATE_NAMED,
            values | {"key_number_digest": named.number_digest, "old_nonce": named.nonce},
        )
