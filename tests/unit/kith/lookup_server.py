"""A server of lookups for the client's tests: epochs, a budget, and tokens over sets.

Knows of the API's rules only what its design page says of lookups.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable

import httpx

from kith import hash_number
from kith.contacts import Contact, WrittenNumber
from tests.unit.kith.canned import Script, ok, problem

REFILL = 50
CAPACITY = 50
LOOKUPS = "POST /v1/discovery/lookups"
PEOPLE = [f"+4915111111{n:03}" for n in range(100)]


def contact(name: str, *numbers: str) -> Contact:
    """Return a contact with its numbers on lines of their own."""
    written = tuple(WrittenNumber(text, line) for line, text in enumerate(numbers, start=1))
    return Contact(name, written, 1)


def account_of(number: str) -> str:
    """Return the account id of a number, which does not tell the number."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"tel:{number}"))


class LookupServer:
    """Answers parameters and lookups of a script.

    here: E.164 numbers that have accounts. left: of the budget, None for a server without one.
    free: what may be asked beside it, after a change of epochs. budget_owner: who pays. lose: so many
    answers get lost after they were charged.
    """

    def __init__(
        self, script: Script, here: Iterable[str] = (), *, max_hashes: int = 4, left: int | None
    ) -> None:
        self.script = script
        self.here = set(here)
        self.epoch = 1
        self.max_hashes = max_hashes
        self.left = left
        self.free = 0
        self.lose_sessions = 0
        self.budget_owner: str | None = None
        self.charges: list[int] = []
        self._charged: set[str] = set()
        script.on("GET /v1/discovery/parameters", lambda _: self._parameters())
        script.on(LOOKUPS, self._look_up)

    @property
    def salt(self) -> str:
        """What numbers are hashed with now."""
        return f"salt {self.epoch}"

    @property
    def asked(self) -> list[list[int]]:
        """How many known and how many new hashes each lookup had."""
        return [
            [len(body.get("known", [])), len(body["hashes"])]
            for body in self.script.bodies(LOOKUPS)
        ]

    def _parameters(self) -> httpx.Response:
        return ok(
            {
                "epoch": f"e{self.epoch}",
                "algorithm": "sha256",
                "salt": self.salt,
                "max_hashes": self.max_hashes,
                "expires_at": None,
                **({} if self.budget_owner is None else {"budget_owner": self.budget_owner}),
                **self._budget(),
            }
        )

    def _budget(self) -> dict[str, object]:
        if self.left is None:
            return {}
        return {"budget": {"left": self.left, "capacity": CAPACITY, "refill_per_day": REFILL}}

    def _look_up(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        hashes, known = set(body["hashes"]), set(body.get("known", []))
        if len(body["hashes"]) + len(body.get("known", [])) > self.max_hashes:
            return problem("invalid-fields", 422)
        if body["epoch"] != f"e{self.epoch}":
            return problem("epoch-unknown", 409)
        if self.left is None:
            assert set(body) == {"epoch", "hashes"}, "this server refuses what it does not know"
            return ok({"matches": self._matches(hashes)})
        proven = body.get("sync_token") == self._token(known)
        cost = len(hashes - known) if proven else len(hashes | known)
        fingerprint = hashlib.sha256(str(self.budget_owner).encode() + request.content).hexdigest()
        if fingerprint in self._charged:
            cost = 0
        free = min(cost, self.free)
        cost -= free
        members = {"left": self.left, "capacity": CAPACITY, "needed": cost}
        if cost > CAPACITY:
            return problem("budget-too-small", 422, **members)
        if cost > self.left:
            return problem("budget-exhausted", 429, {"Retry-After": "7200"}, **members)
        self._charged.add(fingerprint)
        self.charges.append(cost)
        self.free -= free
        self.left -= cost
        if self.lose_sessions:
            self.lose_sessions -= 1
            raise httpx.ReadError("lost")
        return ok(
            {
                "matches": self._matches(hashes | known),
                "sync_token": self._token(hashes | known),
                **self._budget(),
            }
        )

    def _token(self, hashes: Iterable[str]) -> str:
        proof = [self.epoch, self.budget_owner, sorted(hashes)]
        return hashlib.sha256(json.dumps(proof).encode()).hexdigest()

    def _matches(self, hashes: Iterable[str]) -> dict[str, str]:
        accounts = {hash_number(number, self.salt): account_of(number) for number in self.here}
        return {digest: accounts[digest] for digest in hashes if digest in accounts}
