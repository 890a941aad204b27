"""Challenges: a proof of work (ALTCHA, version 2) that lets one send past a soft limit.

A challenge is signed and bound to one number; nothing is stored until its solution is spent.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import altcha
from sqlalchemy import Connection, delete

from core.database import insert, purge
from core.secrets import Keyring
from verification.policy.file import MAX_DIFFICULTY, ChallengeParameters
from verification.policy.models import SpentChallenge
from verification.problems import ChallengeRejected

ALGORITHM = "PBKDF2/SHA-256"
#: Bytes of the key that a solution must match. Few, because clients estimate the work from them; enough that
#: another counter hardly ever matches before the planted one.
_KEY_PREFIX_BYTES = 2


@dataclass(frozen=True)
class Solution:
    """A correct solution of a number's challenge; it may have been spent already."""

    number_digest: bytes
    nonce: bytes
    expires_at: datetime
    #: Difficulty of the challenge: 1 to MAX_DIFFICULTY.
    strength: int

    def suffices(self, pressure: float) -> bool:
        """Return whether it was enough work; limits may have filled to twice as much since."""
        return 2 * self.strength >= strength_of(pressure)

    def spend(self, connection: Connection) -> bool:
        """Spend it in the caller's transaction; return whether that was the first time."""
        return bool(
            connection.execute(
                insert(connection, SpentChallenge)
                .values(
                    number_digest=self.number_digest,
                    nonce=self.nonce,
                    expires_at=self.expires_at,
                )
                .on_conflict_do_nothing()
                .returning(SpentChallenge.nonce)
            ).one_or_none()
        )

    def refund(self, connection: Connection) -> None:
        """Let it be spent again, because no provider sent what it let through."""
        connection.execute(
            delete(SpentChallenge).where(
                SpentChallenge.number_digest == self.number_digest,
                SpentChallenge.nonce == self.nonce,
            )
        )


def strength_of(pressure: float) -> int:
    """Return the difficulty of a challenge at a pressure: 1 to MAX_DIFFICULTY."""
    return max(1, min(MAX_DIFFICULTY, round(pressure)))


class ChallengeService:
    """Creates challenges and verifies solutions."""

    def __init__(
        self,
        keyring: Keyring,
        parameters: ChallengeParameters,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._keys = keyring.derive_all("challenge")
        self._parameters = parameters
        self._entropy = entropy

    def create(self, number_digest: bytes, pressure: float, now: datetime) -> dict[str, Any]:
        """Return a challenge for a number, as JSON for ALTCHA's clients.

        The counter that solves it is planted at random among the tries, which bounds the work. Takes the time
        of one PBKDF2 key.
        """
        strength = strength_of(pressure)
        tries = self._parameters.tries * strength
        expires = int((now + self._parameters.lifetime).timestamp())
        challenge = altcha.create_challenge(
            ALGORITHM,
            self._parameters.iterations,
            counter=int.from_bytes(self._entropy(8), "big") % tries,
            key_prefix_length=_KEY_PREFIX_BYTES,
            # Not ALTCHA's own expiry, which is compared with the host's clock.
            data={"number": number_digest.hex(), "expires": expires, "strength": strength},
            hmac_secret=self._keys[0],
        )
        document: dict[str, Any] = challenge.to_dict()
        return document

    def verify(
        self, payload: str | None, number_digests: Sequence[bytes], now: datetime
    ) -> Solution | ChallengeRejected | None:
        """Verify a solution, outside of any transaction: it takes one PBKDF2 key.

        payload: base64 of ALTCHA's JSON; None if there is none. number_digests: the number under every
        accepted secret. An invalid solution is returned as a problem, which the caller raises only where a
        solution is needed.
        """
        if payload is None:
            return None
        solved = next(filter(None, (_verified(payload, key) for key in self._keys)), None)
        if solved is None:
            return ChallengeRejected("Its solution is wrong; ask again for a new one.")
        data = solved.data or {}
        number = bytes.fromhex(data["number"])
        expires_at = datetime.fromtimestamp(data["expires"], UTC)
        if number not in number_digests:
            return ChallengeRejected("It is another number's; ask again for a new one.")
        if now >= expires_at:
            return ChallengeRejected("It has expired; ask again for a new one.")
        return Solution(number, bytes.fromhex(solved.nonce), expires_at, data.get("strength", 1))


def _verified(payload: str, key: bytes) -> altcha.ChallengeParameters | None:
    """Return the parameters of a challenge that this service signed and that is solved."""
    try:
        if not altcha.verify_solution(payload, key).verified:
            return None
    except TypeError:
        # A cost of 500.0 has the signature of 500, but no key can be derived with it.
        return None
    return altcha.Payload.from_base64(payload).challenge.parameters


def purge_spent(connection: Connection, now: datetime) -> int:
    """Delete a batch of spent challenges that have expired."""
    return purge(connection, SpentChallenge, SpentChallenge.expires_at < now)
