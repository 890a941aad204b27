"""Challenges: a proof of work (ALTCHA, version 2) that lets a person past a soft limit, once.

Owns making and judging them. A challenge is signed and bound to one number, so nothing is stored until its
solution is used. Refuses solutions that are wrong, expired, of another number's challenge or used before.
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
#: Bytes of the key that a solution must match. Few, because clients reckon the work that is asked for by
#: them; enough that hardly any other try matches before the one that was planted.
_PREFIX_BYTES = 2


@dataclass(frozen=True)
class Solution:
    """A right solution of a number's challenge, which may have been used before."""

    number_digest: bytes
    nonce: bytes
    expires_at: datetime
    #: How hard it was: 1 to MAX_DIFFICULTY.
    strength: int

    def suffices(self, pressure: float) -> bool:
        """Say whether it was work enough; limits may have been filled to twice as much meanwhile."""
        return 2 * self.strength >= strength_of(pressure)

    def spend(self, connection: Connection) -> bool:
        """Use it up in the caller's transaction; say whether this was the first time."""
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

    def give_back(self, connection: Connection) -> None:
        """Let it be used again, because nobody was there to send what it let through."""
        connection.execute(
            delete(SpentChallenge).where(
                SpentChallenge.number_digest == self.number_digest,
                SpentChallenge.nonce == self.nonce,
            )
        )


def strength_of(pressure: float) -> int:
    """Give how hard a challenge is that far over a limit: 1 to MAX_DIFFICULTY."""
    return max(1, min(MAX_DIFFICULTY, round(pressure)))


class ChallengeService:
    """Makes challenges and judges their solutions."""

    def __init__(
        self,
        keyring: Keyring,
        parameters: ChallengeParameters,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._keys = keyring.derive_all("challenge")
        self._parameters = parameters
        self._entropy = entropy

    def make(self, number_digest: bytes, pressure: float, now: datetime) -> dict[str, Any]:
        """Make a challenge for a number, as the JSON that ALTCHA's clients take.

        The try that solves it is planted, evenly among so many, so that nobody works for longer however
        unlucky they are. It takes one PBKDF2 key.
        """
        strength = strength_of(pressure)
        tries = self._parameters.tries * strength
        expires = int((now + self._parameters.lifetime).timestamp())
        challenge = altcha.create_challenge(
            ALGORITHM,
            self._parameters.iterations,
            counter=int.from_bytes(self._entropy(8), "big") % tries,
            key_prefix_length=_PREFIX_BYTES,
            # The time is in our data and not in ALTCHA's own field, which is judged by the host's clock.
            data={"number": number_digest.hex(), "expires": expires, "strength": strength},
            hmac_secret=self._keys[0],
        )
        made: dict[str, Any] = challenge.to_dict()
        return made

    def judge(
        self, payload: str | None, number_digests: Sequence[bytes], now: datetime
    ) -> Solution | ChallengeRejected | None:
        """Judge a solution, outside of any transaction: it takes one PBKDF2 key.

        payload: base64 of ALTCHA's JSON, None when there is none. number_digests: the number under
        every accepted secret. What is wrong with it is given and not raised, for the caller to tell
        when it is needed.
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
    """Give the parameters of a challenge that is ours and solved."""
    try:
        if not altcha.verify_solution(payload, key).verified:
            return None
    except TypeError:
        # A cost of 500.0 is signed as one of 500 is, but nobody can derive a key with it.
        return None
    return altcha.Payload.from_base64(payload).challenge.parameters


def purge_spent(connection: Connection, now: datetime) -> int:
    """Delete a batch of used challenges that have expired."""
    return purge(connection, SpentChallenge, SpentChallenge.expires_at < now)
