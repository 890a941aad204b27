"""Bindings: as which Matrix user the account of a number is found.

Owns the table `matrix_bindings`. A number is bound by whoever proves it, to herself; its account is made
if there is none, so that the directory has one entry for it whichever door it came through. A binding ends
when it is unbound, when another is made, and when the number is proven anew on our own routes, moves to
another account or leaves with it: it must never lead to whoever held the number before. Refuses to bind a
number that a registration lock guards.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, select, text

from core.database import Database, find, insert, table
from interop.matrix.accounts import MatrixCaller, remember_bound
from interop.matrix.identifiers import server_of
from interop.matrix.models import MatrixBinding
from interop.matrix.problems import MatrixUserForbidden
from interop.matrix.schemas import BindBody, UnbindBody
from interop.matrix.sessions import ValidationService
from interop.matrix.signed_requests import HomeserverCaller
from interop.matrix.signing import Signer
from tokens.accounts import AccountService
from verification.models import Verification
from verification.problems import VerificationUsed
from verification.proofs import admit
from verification.store import save

MEDIUM = "msisdn"
#: An association says until when it holds, and holds until it is ended: so far ahead.
HOLDS_FOR = timedelta(days=36_525)

_BINDINGS = table(MatrixBinding)
_OWN = select(_BINDINGS.c.e164).where(
    _BINDINGS.c.account_id == bindparam("account"), _BINDINGS.c.user_id == bindparam("name")
)
#: Thousands of accounts as one parameter: no limit of variables, and statements that are compiled once.
_NAMING_SQLITE = text(
    "SELECT account_id, user_id FROM matrix_bindings"
    " WHERE account_id IN (SELECT value FROM json_each(:ids))"
)
_NAMING_POSTGRESQL = text(
    "SELECT encode(uuid_send(account_id), 'hex'), user_id FROM matrix_bindings"
    " WHERE account_id = ANY(CAST(:ids AS uuid[]))"
)


class BindingService:
    """Binds numbers to Matrix users and ends that."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        accounts: AccountService,
        validations: ValidationService,
        signer: Signer,
    ) -> None:
        self._database = database
        self._clock = clock
        self._accounts = accounts
        self._validations = validations
        self._signer = signer

    def bind(self, caller: MatrixCaller, body: BindBody) -> dict[str, Any]:
        """Bind a validated number to the caller; give the signed association.

        A bind repeated after a lost answer is answered as it was first, and a session binds once.
        """
        if body.mxid != caller.user_id:
            raise MatrixUserForbidden("A number is bound to whose access token it is, no one else.")
        now = self._clock()
        with self._database.write(adds=True) as connection:
            row = self._validations.hold(connection, caller, body.sid, body.client_secret)
            admit(connection, self._accounts, row, self._clock())
            if row.used_at is not None:
                now = self._bound_at(connection, caller, row)
            else:
                self._bind(connection, caller, row, now)
        return self._signer.sign(_association(row.e164, caller.user_id, now))

    def _bind(
        self, connection: Connection, caller: MatrixCaller, row: Verification, now: datetime
    ) -> None:
        account_id = self._accounts.get_or_create(connection, row.e164)
        values = {"user_id": caller.user_id, "e164": row.e164, "bound_at": now}
        connection.execute(
            insert(connection, MatrixBinding)
            .values(account_id=account_id, **values)
            .on_conflict_do_update(index_elements=["account_id"], set_=values)
        )
        remember_bound(connection, caller, account_id)
        save(connection, row, used_at=now, account_id=account_id)

    @staticmethod
    def _bound_at(connection: Connection, caller: MatrixCaller, row: Verification) -> datetime:
        """Say when a session bound its number, if what it bound is still there."""
        here = (
            MatrixBinding.account_id == row.account_id,
            MatrixBinding.user_id == caller.user_id,
            MatrixBinding.e164 == row.e164,
        )
        binding = find(connection, MatrixBinding, *here)
        if binding is None:
            raise VerificationUsed("It bound the number before, which was unbound since.")
        return binding.bound_at

    def unbind(self, caller: MatrixCaller | HomeserverCaller, body: UnbindBody) -> None:
        """End a binding: for the bound user, for their homeserver, and for whoever proves the number.

        An access token says that a homeserver vouches for its user, which is what its signature says too. A
        proof in a session is held to what any proof is, among it the registration lock of the number.
        """
        e164 = f"+{body.threepid.address}"
        with self._database.write() as connection:
            if isinstance(caller, HomeserverCaller):
                if server_of(body.mxid) != caller.server_name:
                    raise MatrixUserForbidden("A homeserver unbinds its own users.")
            elif body.mxid == caller.user_id:
                # Their token is enough, whatever became of the session.
                pass
            elif body.sid is not None and body.client_secret is not None:
                row = self._validations.hold(connection, caller, body.sid, body.client_secret)
                admit(connection, self._accounts, row, self._clock())
                if row.e164 != e164:
                    raise MatrixUserForbidden("The session validated another number.")
            else:
                raise MatrixUserForbidden("Prove the number in a session, or be the bound user.")
            account_id = self._accounts.lock_by_number(connection, e164)
            here = (MatrixBinding.account_id == account_id, MatrixBinding.user_id == body.mxid)
            if account_id and find(connection, MatrixBinding, *here):
                connection.execute(delete(MatrixBinding).where(*here))
                # Of an account that was only made to be bound nothing is left.
                self._accounts.delete_if_empty(connection, account_id)

    @staticmethod
    def number_of(connection: Connection, caller: MatrixCaller) -> str | None:
        """Give the number that the caller bound last, if it is bound to her still."""
        if caller.bound_account is None:
            return None
        values = {"account": caller.bound_account, "name": caller.user_id}
        return connection.scalar(_OWN, values)

    def users_of(self, account_ids: Sequence[str]) -> dict[str, str]:
        """Give the Matrix user of each account that is bound, in one statement.

        account_ids: each 32 hexadecimal digits, which is what they are known by in the answer.
        """
        if not account_ids:
            return {}
        quoted = '"' + '","'.join(account_ids) + '"'
        with self._database.read() as connection:
            if connection.dialect.name == "sqlite":
                rows = connection.execute(_NAMING_SQLITE, {"ids": f"[{quoted}]"})
            else:
                rows = connection.execute(_NAMING_POSTGRESQL, {"ids": f"{{{quoted}}}"})
            return dict(cast(Any, rows.all()))

    @staticmethod
    def holder_changed(connection: Connection, account_id: UUID) -> None:
        """End what was bound by whoever held the number before."""
        connection.execute(delete(MatrixBinding).where(MatrixBinding.account_id == account_id))


def _association(e164: str, user_id: str, now: datetime) -> dict[str, Any]:
    return {
        "address": e164.removeprefix("+"),
        "medium": MEDIUM,
        "mxid": user_id,
        "not_before": milliseconds(now),
        "not_after": milliseconds(now + HOLDS_FOR),
        "ts": milliseconds(now),
    }


def milliseconds(moment: datetime) -> int:
    """Write a moment as Matrix does: milliseconds since 1970."""
    return int(moment.timestamp() * 1000)
