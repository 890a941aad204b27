"""Validation sessions: our verifications, found by user, id and the client's secret together.

Owns which `send_attempt` was answered last, and how long a validated number may be bound: 24 hours, as
the specification has it, while a code lives as long as any. A session is no verification to our own routes,
so whoever sees its id, such as a homeserver that passes it on, can register no device with it. Refuses
an id without its secret.
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
from interop.matrix.accounts import MatrixCaller, remember_validated
from interop.matrix.models import MatrixSession
from interop.matrix.schemas import RequestToken
from interop.matrix.settings import MatrixSettings
from verification.checks import CheckService
from verification.models import Verification
from verification.problems import (
    ChecksExhausted,
    NoSendsLeft,
    VerificationClosed,
    VerificationExpired,
    VerificationNotFound,
)
from verification.profile import MATRIX_USERS, VerificationProfile
from verification.proofs import require_proof
from verification.schemas import SendAgain, StartVerification, VerificationAnswer
from verification.service import VerificationService
from verification.store import VerificationKey, load

#: What a session answers that sends no more: the next token is one of a new session.
OVER = (
    ChecksExhausted,
    NoSendsLeft,
    VerificationClosed,
    VerificationExpired,
    VerificationNotFound,
)
VALID_FOR = timedelta(days=1)
#: Verifications are deleted a day after their time.
RETENTION = 2 * VALID_FOR

_SESSIONS = table(MatrixSession)
_LOADING = select(*_SESSIONS.columns).where(
    _SESSIONS.c.number_digest == bindparam("number"), _SESSIONS.c.secret_hash == bindparam("secret")
)


@cache
def _storing(dialect: str) -> Executable:
    changes: dict[str, Any] = {
        name: bindparam(name) for name in ("nonce", "send_attempt", "next_link", "touched_at")
    }
    return (
        insert_into(dialect, MatrixSession)
        .values(number_digest=bindparam("number"), secret_hash=bindparam("secret"), **changes)
        .on_conflict_do_update(
            index_elements=["number_digest", "secret_hash"],
            set_=changes,
            where=_SESSIONS.c.send_attempt < bindparam("send_attempt"),
        )
    )


@dataclass(frozen=True)
class Validated:
    """A number that was proven in a session, and when."""

    e164: str
    at: datetime

    @property
    def address(self) -> str:
        """The number as Matrix writes it: digits alone."""
        return self.e164.removeprefix("+")


class ValidationService:
    """Starts sessions, judges their tokens and says what was validated."""

    def __init__(
        self,
        database: Database,
        settings: MatrixSettings,
        keyring: Keyring,
        verifications: VerificationService,
        checks: CheckService,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._verifications = verifications
        self._checks = checks
        self._clock = clock
        self._starting = replace(VerificationProfile.open_to_all(settings), service=MATRIX_USERS)
        self._judging = replace(self._starting, lifetime=VALID_FOR)

    def request(
        self, caller: MatrixCaller, body: RequestToken, requester: Requester
    ) -> tuple[str, str]:
        """Send a number its token; give the session's id and the number. A `send_attempt` sends once.

        A higher one sends the same token again, as the ladder allows, or a new one when that is over.
        """
        e164 = self._verifications.read_number(body.phone_number, body.country)
        with self._database.read() as connection:
            session = self._find(connection, caller, e164, body.client_secret)
        if session is not None:
            identity = VerificationKey(session.number_digest, session.nonce).id
            if body.send_attempt <= session.send_attempt:
                return identity, e164
            # Only while it can be sent again; a new one is begun in its place otherwise.
            if self._send_again(caller, identity, body, requester):
                return identity, e164
        answered = self._verifications.start(
            StartVerification(phone_number=e164),
            requester,
            _attempt_key(caller, body),
            replace(self._starting, sender=caller.id.bytes),
        )
        identity = VerificationAnswer.model_validate_json(answered.body).id
        self._store(caller, identity, body)
        return identity, e164

    def _find(
        self, connection: Connection, caller: MatrixCaller, e164: str, secret: str
    ) -> MatrixSession | None:
        for digest in self._keyring.digests("number", e164):
            session = _load(connection, caller, digest, secret)
            if session is not None:
                return session
        return None

    def _send_again(
        self, caller: MatrixCaller, identity: str, body: RequestToken, requester: Requester
    ) -> bool:
        key = _attempt_key(caller, body)
        try:
            self._verifications.send_again(identity, SendAgain(), requester, key, MATRIX_USERS)
        except OVER:
            return False
        self._store(caller, identity, body)
        return True

    def _store(self, caller: MatrixCaller, identity: str, body: RequestToken) -> None:
        key = VerificationKey.parse(identity)
        with self._database.write(adds=True) as connection:
            connection.execute(
                _storing(dialect_of(connection)),
                {
                    "number": key.number_digest,
                    "secret": _hash(caller, key.number_digest, body.client_secret),
                    "nonce": key.nonce,
                    "send_attempt": body.send_attempt,
                    "next_link": body.next_link,
                    "touched_at": self._clock(),
                },
            )

    def submit(self, caller: MatrixCaller, sid: str, client_secret: str, token: str) -> str | None:
        """Judge a token; give where its person is to be led now, if the client said so.

        Raises CodeRejected, VerificationNotFound, VerificationExpired and what else can end a session.
        """
        with self._database.read() as connection:
            key, session = self._session(connection, caller, sid, client_secret)
        self._checks.judge(key, token, self._judging)
        if caller.validated_session != key.whole:
            with self._database.write() as connection:
                remember_validated(connection, caller, key.whole)
        return session.next_link

    def hold(
        self, connection: Connection, caller: MatrixCaller, sid: str, client_secret: str
    ) -> Verification:
        """Give the verification of a session, whatever its state, and hold it.

        Raises VerificationNotFound.
        """
        key, _ = self._session(connection, caller, sid, client_secret)
        return load(connection, key, lock=True)

    def number_of(self, connection: Connection, caller: MatrixCaller) -> str | None:
        """Give the number that the caller proved last, while that session is the number's proof."""
        if caller.validated_session is None:
            return None
        whole = caller.validated_session
        try:
            row = load(connection, VerificationKey(whole[:16], whole[16:], MATRIX_USERS))
            require_proof(row, self._clock())
        except (VerificationNotFound, VerificationExpired, VerificationClosed):
            return None
        return row.e164

    def read(self, caller: MatrixCaller, sid: str, client_secret: str) -> Validated:
        """Give what was validated in a session.

        Raises VerificationNotFound, and what `require_proof` does.
        """
        with self._database.read() as connection:
            key, _ = self._session(connection, caller, sid, client_secret)
            row = load(connection, key)
        require_proof(row, self._clock())
        return Validated(row.e164, row.expires_at - VALID_FOR)

    @staticmethod
    def _session(
        connection: Connection, caller: MatrixCaller, sid: str, client_secret: str
    ) -> tuple[VerificationKey, MatrixSession]:
        key = replace(VerificationKey.parse(sid), service=MATRIX_USERS)
        session = _load(connection, caller, key.number_digest, client_secret)
        if session is None or session.nonce != key.nonce:
            raise VerificationNotFound("No session has this sid and this client_secret.")
        return key, session

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of sessions whose verifications are gone."""
        return purge(connection, MatrixSession, MatrixSession.touched_at < now - RETENTION)


def _load(
    connection: Connection, caller: MatrixCaller, number_digest: bytes, secret: str
) -> MatrixSession | None:
    values = {"number": number_digest, "secret": _hash(caller, number_digest, secret)}
    return cast(MatrixSession | None, connection.execute(_LOADING, values).one_or_none())


def _hash(caller: MatrixCaller, number_digest: bytes, secret: str) -> bytes:
    # A blank is in none of them. Clients may choose a poor secret, and another user the same one.
    return hashlib.sha256(number_digest + f"{caller.user_id} {secret}".encode()).digest()


def _attempt_key(caller: MatrixCaller, body: RequestToken) -> str:
    """Name a `send_attempt` of a client as an idempotency key."""
    named = f"{caller.user_id} {body.client_secret} {body.send_attempt}"
    return hashlib.sha256(named.encode()).hexdigest()
