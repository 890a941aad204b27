"""Proofs: right codes that were not used yet, and the one check whether a proof may change an account.

Only the newest proof of a number holds: a right code voids every older one, through whichever protocol
either came, because the number may have changed hands in between. Pending codes stay, and so do the codes of
services (CAMARA), which change no account.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Connection, bindparam, case, or_, update

from core.database import UtcDateTime, table
from tokens.accounts import AccountService
from verification.models import Verification
from verification.problems import VerificationClosed, VerificationExpired, VerificationNotVerified
from verification.profile import MATRIX_USERS
from verification.store import save, status_of

_ROWS = table(Verification)
_IS_NEWEST = _ROWS.c.nonce == bindparam("newest_nonce")
#: A used native proof is history. A used Matrix session can still be read and unbound.
_IS_OLDER = (_ROWS.c.status == "verified") & or_(
    _ROWS.c.service.is_(None) & _ROWS.c.used_at.is_(None),
    _ROWS.c.service == MATRIX_USERS,
)
#: Voids and proves in one statement on the number's shard. Under a digest of an older secret there is no
#: newest one, and it only voids.
UPDATE_PROOFS = (
    update(_ROWS)
    .where(_ROWS.c.number_digest == bindparam("digest"), or_(_IS_NEWEST, _IS_OLDER))
    .values(
        status=case((_IS_NEWEST, "verified"), else_="canceled"),
        expires_at=case(
            (_IS_NEWEST, bindparam("newest_expires_at", type_=UtcDateTime())),
            else_=_ROWS.c.expires_at,
        ),
    )
)


def prove(
    connection: Connection, row: Verification, digests: Sequence[bytes], expires_at: datetime
) -> Verification:
    """Make a verification the proof of its number until `expires_at`; void every older proof.

    digests: those of the number under every accepted secret. The transaction holds the row, and the number's
    counter of wrong codes (checks.py), so the checks of a number take turns: of two right codes at once the
    later one sees what the earlier one wrote, and one proof is left.
    """
    changes: dict[str, Any] = {"status": "verified", "expires_at": expires_at}
    if row.service not in (None, MATRIX_USERS):
        return save(connection, row, **changes)
    for digest in {row.number_digest, *digests}:
        connection.execute(
            UPDATE_PROOFS,
            {"digest": digest, "newest_nonce": row.nonce, "newest_expires_at": expires_at},
        )
    return cast(Verification, cast(Any, row)._replace(**changes))


def require_proof(row: Verification, now: datetime) -> None:
    """Raise a problem unless a verification is a proof now.

    Raises VerificationNotVerified, VerificationExpired, or VerificationClosed when it failed, was canceled or
    a newer proof voided it.
    """
    status = status_of(row, now)
    if status == "pending":
        raise VerificationNotVerified("Check its code first.")
    if status == "expired" or (status == "verified" and row.expires_at <= now):
        raise VerificationExpired("Its time is over; start a new one.")
    if status == "canceled":
        raise VerificationClosed(
            "It was canceled, or a newer proof of the number replaced it; start a new one."
        )
    if status != "verified":
        raise VerificationClosed(f"It is {status}; start a new one.")


def admit(
    connection: Connection,
    accounts: AccountService,
    row: Verification,
    now: datetime,
    *,
    opened_lock: str | None = None,
    owner: UUID | None = None,
) -> None:
    """Raise a problem unless a proof may change the account that its number leads to.

    It must be the number's newest proof, and the number must have no registration lock but the one that
    `opened_lock` opened or that of `owner`, an account. Callers decide about a proof that was used before,
    because they know the first answer. The transaction holds the proof's row, so that a newer proof waits for
    it, and from here on the account.

    Raises what `require_proof` does, and RegistrationLocked.
    """
    require_proof(row, now)
    accounts.require_unlocked(connection, row.e164, opened_lock=opened_lock, owner=owner)
