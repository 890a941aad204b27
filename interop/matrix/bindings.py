"""Bindings: the Matrix user that the account of a number is found as.

A number is bound by who proves it, to themselves. Its account is created if there is none, so the directory
has one entry for it, whichever protocol it came through. A binding ends when it is unbound or replaced, and
when the number is proven natively, moves to another account or leaves with it: it must never lead to
who held the number before. A number with a registration lock cannot be bound.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, select, text

from core.database import Database, find, insert, table
from interop.matrix.accounts import MatrixCaller, update_caller
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
#: Associations carry an end but hold until they are ended: they claim 100 years.
ASSOCIATION_LIFETIME = timedelta(days=36_525)

_BINDINGS = table(MatrixBinding)
SELECT_BOUND_NUMBER = select(_BINDINGS.c.e164).where(
    _BINDINGS.c.account_id == bindparam("account_id"),
    _BINDINGS.c.user_id == bindparam("user_id"),
)
#: Thousands of accounts as one parameter: no limit on variables, and statements that are compiled once.
SELECT_USERS_SQLITE = text(
    "SELECT account_id, user_id FROM matrix_bindings"
    " WHERE account_id IN (SELECT value FROM json_each(:account_ids))"
)
SELECT_USERS_POSTGRESQL = text(
    "SELECT encode(uuid_send(account_id), 'hex'), user_id FROM matrix_bindings"
    " WHERE account_id = ANY(CAST(:account_ids AS uuid[]))"
)


@dataclass(frozen=True)
class BindingService:
    """Binds numbers to Matrix users and unbinds them."""

    database: Database
    clock: Callable[[], datetime]
    accounts: AccountService
    validations: ValidationService
    signer: Signer

    def bind(self, caller: MatrixCaller, body: BindBody) -> dict[str, Any]:
        """Bind a validated number to the caller; return the signed association.

        A repeat after a lost answer gets the same answer, and a session binds once. Raises
        MatrixUserForbidden, VerificationUsed, and what `proofs.admit` raises.
        """
        if body.mxid != caller.user_id:
            raise MatrixUserForbidden("You can only bind a number to the user of the access token.")
        now = self.clock()
        with self.database.write(adds=True) as connection:
            row = self.validations.lock(connection, caller, body.sid, body.client_secret)
            admit(connection, self.accounts, row, self.clock())
            if row.used_at is not None:
                now = self._bound_at(connection, caller, row)
            else:
                self._bind(connection, caller, row, now)
        return self.signer.sign(
            {
                "address": row.e164.removeprefix("+"),
                "medium": MEDIUM,
                "mxid": caller.user_id,
                "not_before": milliseconds(now),
                "not_after": milliseconds(now + ASSOCIATION_LIFETIME),
                "ts": milliseconds(now),
            }
        )

    def _bind(
        self, connection: Connection, caller: MatrixCaller, row: Verification, now: datetime
    ) -> None:
        account_id = self.accounts.get_or_create(connection, row.e164)
        values = {"user_id": caller.user_id, "e164": row.e164, "bound_at": now}
        connection.execute(
            insert(connection, MatrixBinding)
            .values(account_id=account_id, **values)
            .on_conflict_do_update(index_elements=["account_id"], set_=values)
        )
        update_caller(connection, caller, bound_account=account_id)
        save(connection, row, used_at=now, account_id=account_id)

    @staticmethod
    def _bound_at(connection: Connection, caller: MatrixCaller, row: Verification) -> datetime:
        """Return when a used session bound its number; raises VerificationUsed if it was unbound since."""
        binding = find(
            connection,
            MatrixBinding,
            MatrixBinding.account_id == row.account_id,
            MatrixBinding.user_id == caller.user_id,
            MatrixBinding.e164 == row.e164,
        )
        if binding is None:
            raise VerificationUsed("The number was bound with it and unbound since.")
        return binding.bound_at

    def unbind(self, caller: MatrixCaller | HomeserverCaller, body: UnbindBody) -> None:
        """Unbind a number, for the bound user, their homeserver, or who proves the number.

        The bound user's access token is enough: it says that a homeserver vouches for its user, as the
        homeserver's signature does. A proof must pass what every proof must, the registration lock included.
        """
        e164 = f"+{body.threepid.address}"
        with self.database.write() as connection:
            if isinstance(caller, HomeserverCaller):
                if server_of(body.mxid) != caller.server_name:
                    raise MatrixUserForbidden("A homeserver can only unbind its own users.")
            elif body.mxid == caller.user_id:
                # The token is enough, whatever became of the session.
                pass
            elif body.sid is not None and body.client_secret is not None:
                row = self.validations.lock(connection, caller, body.sid, body.client_secret)
                admit(connection, self.accounts, row, self.clock())
                if row.e164 != e164:
                    raise MatrixUserForbidden("The session validated another number.")
            else:
                raise MatrixUserForbidden("Prove the number in a session, or be the bound user.")
            account_id = self.accounts.lock_by_number(connection, e164)
            is_binding = (
                MatrixBinding.account_id == account_id,
                MatrixBinding.user_id == body.mxid,
            )
            if account_id and find(connection, MatrixBinding, *is_binding):
                connection.execute(delete(MatrixBinding).where(*is_binding))
                # An account that was only created to be bound is deleted.
                self.accounts.delete_if_empty(connection, account_id)

    @staticmethod
    def number_of(connection: Connection, caller: MatrixCaller) -> str | None:
        """Return the number that the caller bound last, if it still is bound to them."""
        if caller.bound_account is None:
            return None
        values = {"account_id": caller.bound_account, "user_id": caller.user_id}
        return connection.scalar(SELECT_BOUND_NUMBER, values)

    def users_of(self, account_ids: Sequence[str]) -> dict[str, str]:
        """Return the Matrix user of each account that is bound, in one statement.

        account_ids: each 32 hexadecimal digits; they are the keys of the result.
        """
        if not account_ids:
            return {}
        quoted = '"' + '","'.join(account_ids) + '"'
        with self.database.read() as connection:
            if connection.dialect.name == "sqlite":
                statement, ids = SELECT_USERS_SQLITE, f"[{quoted}]"
            else:
                statement, ids = SELECT_USERS_POSTGRESQL, f"{{{quoted}}}"
            return dict(cast(Any, connection.execute(statement, {"account_ids": ids}).all()))

    @staticmethod
    def holder_changed(connection: Connection, account_id: UUID) -> None:
        """Delete the binding of who held the number before."""
        connection.execute(delete(MatrixBinding).where(MatrixBinding.account_id == account_id))


def milliseconds(moment: datetime) -> int:
    """Return a moment as Matrix writes it: milliseconds since 1970."""
    return int(moment.timestamp() * 1000)
