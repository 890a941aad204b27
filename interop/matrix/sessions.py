"""Validation sessions: verifications that are found by user, session id and client secret together.

A session's verification belongs to the Matrix users' service and is not found on the native routes, so who
sees its id, such as a homeserver that forwards it, cannot register a device with it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Executable, bindparam, select

from core.database import Database, dialect_of, insert_into, purge, table
from core.requester import Requester
from core.secrets import Keyring
from interop.matrix.accounts import MatrixCaller, update_caller
from interop.matrix.models import MatrixSession
from interop.matrix.schemas import RequestToken
from verification.checks import CheckService
from verification.models import Verification
from verification.problems import (
    ChecksExhausted,
    NoSendsLeft,
    VerificationClosed,
    VerificationExpired,
    VerificationNotFound,
)
from verification.profile import MATRIX_USERS
from verification.proofs import require_proof
from verification.schemas import SendAgain, StartVerification
from verification.service import VerificationService
from verification.store import VerificationKey, load

#: Why a session sends no more: the next token belongs to a new session.
SESSION_OVER = (
    ChecksExhausted,
    NoSendsLeft,
    VerificationClosed,
    VerificationExpired,
    VerificationNotFound,
)
#: How long a validated number may be bound, as the specification says.
VALID_FOR = timedelta(days=1)
#: Verifications are deleted a day after their time.
RETENTION = 2 * VALID_FOR

_SESSIONS = table(MatrixSession)
SELECT_SESSION = select(*_SESSIONS.columns).where(
    _SESSIONS.c.number_digest == bindparam("number_digest"),
    _SESSIONS.c.secret_hash == bindparam("secret_hash"),
)


@cache
def upsert_session(dialect: str) -> Executable:
    """Return the statement that stores a session, unless a later `send_attempt` is stored."""
    key = ("number_digest", "secret_hash")
    names = ("nonce", "send_attempt", "next_link", "updated_at")
    changes: dict[str, Any] = {name: bindparam(name) for name in names}
    return (
        insert_into(dialect, MatrixSession)
        .values(**{name: bindparam(name) for name in key}, **changes)
        .on_conflict_do_update(
            index_elements=key,
            set_=changes,
            where=_SESSIONS.c.send_attempt < bindparam("send_attempt"),
        )
    )


@dataclass(frozen=True)
class ValidatedNumber:
    """A number that a session validated, and when."""

    e164: str
    validated_at: datetime


@dataclass(frozen=True)
class ValidationService:
    """Starts sessions and validates their tokens."""

    database: Database
    keyring: Keyring
    verifications: VerificationService
    checks: CheckService
    clock: Callable[[], datetime]

    def request(
        self, caller: MatrixCaller, body: RequestToken, requester: Requester
    ) -> tuple[str, str]:
        """Send a number its token, once a `send_attempt`; return the session's id and the number.

        A higher `send_attempt` resends the token, as the schedule allows; if the session is over, it sends a
        new one.
        """
        e164 = self.verifications.read_number(body.phone_number, body.country)
        with self.database.read() as connection:
            session = self._find(connection, caller, e164, body.client_secret)
        if session is not None:
            key = VerificationKey(session.number_digest, session.nonce, MATRIX_USERS)
            repeated = body.send_attempt <= session.send_attempt
            if repeated or self._resend(caller, key, body, requester):
                return key.id, e164
        profile = replace(self.verifications.profile, service=MATRIX_USERS, sender=caller.id.bytes)
        sent = self.verifications.start(
            StartVerification(phone_number=e164), requester, _attempt_key(caller, body), profile
        )
        self._store(caller, sent.key, body)
        return sent.key.id, e164

    def _find(
        self, connection: Connection, caller: MatrixCaller, e164: str, secret: str
    ) -> MatrixSession | None:
        for digest in self.keyring.digests("number", e164):
            session = _load(connection, caller, digest, secret)
            if session is not None:
                return session
        return None

    def _resend(
        self, caller: MatrixCaller, key: VerificationKey, body: RequestToken, requester: Requester
    ) -> bool:
        """Resend a session's token; return False if the session is over."""
        try:
            self.verifications.resend(key, SendAgain(), requester, _attempt_key(caller, body))
        except SESSION_OVER:
            return False
        self._store(caller, key, body)
        return True

    def _store(self, caller: MatrixCaller, key: VerificationKey, body: RequestToken) -> None:
        with self.database.write(adds=True) as connection:
            connection.execute(
                upsert_session(dialect_of(connection)),
                {
                    "number_digest": key.number_digest,
                    "secret_hash": _hash(caller, key.number_digest, body.client_secret),
                    "nonce": key.nonce,
                    "send_attempt": body.send_attempt,
                    "next_link": body.next_link,
                    "updated_at": self.clock(),
                },
            )

    def submit(self, caller: MatrixCaller, sid: str, client_secret: str, token: str) -> str | None:
        """Check a token; return the client's `next_link`, if it named one.

        Raises what `CheckService.check_code` does.
        """
        with self.database.read() as connection:
            key, session = self._session(connection, caller, sid, client_secret)
        profile = replace(self.verifications.profile, service=MATRIX_USERS, lifetime=VALID_FOR)
        self.checks.check_code(key, token, profile)
        if caller.validated_session != key.raw:
            with self.database.write() as connection:
                update_caller(connection, caller, validated_session=key.raw)
        return session.next_link

    def lock(
        self, connection: Connection, caller: MatrixCaller, sid: str, client_secret: str
    ) -> Verification:
        """Return the verification of a session, whatever its status, and lock its row.

        Raises VerificationNotFound.
        """
        key, _ = self._session(connection, caller, sid, client_secret)
        return load(connection, key, lock=True)

    def number_of(self, connection: Connection, caller: MatrixCaller) -> str | None:
        """Return the number that the caller proved last; None unless that session is the number's proof."""
        if caller.validated_session is None:
            return None
        raw = caller.validated_session
        try:
            row = load(connection, VerificationKey(raw[:16], raw[16:], MATRIX_USERS))
            require_proof(row, self.clock())
        except (VerificationNotFound, VerificationExpired, VerificationClosed):
            return None
        return row.e164

    def read(self, caller: MatrixCaller, sid: str, client_secret: str) -> ValidatedNumber:
        """Return the number that a session validated.

        Raises VerificationNotFound, and what `require_proof` does.
        """
        with self.database.read() as connection:
            key, _ = self._session(connection, caller, sid, client_secret)
            row = load(connection, key)
        require_proof(row, self.clock())
        return ValidatedNumber(row.e164, row.expires_at - VALID_FOR)

    @staticmethod
    def _session(
        connection: Connection, caller: MatrixCaller, sid: str, client_secret: str
    ) -> tuple[VerificationKey, MatrixSession]:
        key = VerificationKey.parse(sid, MATRIX_USERS)
        session = _load(connection, caller, key.number_digest, client_secret)
        if session is None or session.nonce != key.nonce:
            raise VerificationNotFound("No session has this sid and this client_secret.")
        return key, session


def purge_sessions(connection: Connection, now: datetime) -> int:
    """Delete a batch of sessions whose verifications were deleted."""
    return purge(connection, MatrixSession, MatrixSession.updated_at < now - RETENTION)


def _load(
    connection: Connection, caller: MatrixCaller, number_digest: bytes, secret: str
) -> MatrixSession | None:
    values = {
        "number_digest": number_digest,
        "secret_hash": _hash(caller, number_digest, secret),
    }
    return cast(MatrixSession | None, connection.execute(SELECT_SESSION, values).one_or_none())


def _hash(caller: MatrixCaller, number_digest: bytes, secret: str) -> bytes:
    # None of them contains a space. A client may choose a poor secret, and another user the same one.
    return hashlib.sha256(number_digest + f"{caller.user_id} {secret}".encode()).digest()


def _attempt_key(caller: MatrixCaller, body: RequestToken) -> str:
    """Return the idempotency key of a client's `send_attempt`."""
    name = f"{caller.user_id} {body.client_secret} {body.send_attempt}"
    return hashlib.sha256(name.encode()).hexdigest()
