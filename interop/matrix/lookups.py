"""Lookups of Matrix users by hashed numbers, in the directory and its budgets.

The budget is that of the number that the caller bound or validated; without one, see unverified_budgets.py.
An account is found as the Matrix user that its number is bound to, or else, if the settings name a server,
by its id there.
"""

import json
import re
import string
from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection

from core.database import Database
from core.problems import InvalidFields
from core.requester import Requester
from core.secrets import Keyring
from discovery.budget_owners import BudgetOwner, subjects_of
from discovery.digests import (
    HASH_LENGTH,
    HASH_PATTERN,
    Bytes,
    DigestSet,
    Mask,
    decode_hashes,
    digest_number,
    encode_hash,
    encode_hashes,
)
from discovery.epochs import id_of
from discovery.service import DiscoveryService, SharedLimitReached
from interop.matrix.accounts import MatrixCaller
from interop.matrix.bindings import MEDIUM, BindingService
from interop.matrix.problems import MatrixLookupsRateLimited
from interop.matrix.schemas import HashDetailsAnswer, LookupBody
from interop.matrix.sessions import ValidationService
from interop.matrix.settings import MatrixSettings
from interop.matrix.unverified_budgets import UnverifiedBudgets

SHA256, NONE = "sha256", "none"
_HASH = re.compile(HASH_PATTERN)
_PLAIN = re.compile(rf"([0-9]{{1,15}}) {MEDIUM}")
#: The characters of a hash, and those that its last one can be.
_HASH_CHARACTERS = (string.ascii_letters + string.digits + "-_").encode()
_LAST_CHARACTERS = b"AEIMQUYcgkosw048"
_UUID_GROUPS = (8, 4, 4, 4, 12)


class MatrixLookupService:
    """Looks up users of Matrix by hashed numbers."""

    def __init__(
        self,
        database: Database,
        directory: DiscoveryService,
        bindings: BindingService,
        validations: ValidationService,
        keyring: Keyring,
        settings: MatrixSettings,
    ) -> None:
        self._database = database
        self._directory = directory
        self._bindings = bindings
        self._validations = validations
        self._keyring = keyring
        self._algorithms = [SHA256, NONE] if settings.matrix_plain_lookups else [SHA256]
        self._native = _MatchWriter(settings.matrix_server_name)
        self._unverified = UnverifiedBudgets(keyring, settings)

    def hash_details(self) -> HashDetailsAnswer:
        """Return how to hash numbers now."""
        epoch, _ = self._directory.parameters()
        return HashDetailsAnswer(lookup_pepper=epoch.salt, algorithms=self._algorithms)

    def look_up(self, caller: MatrixCaller, body: LookupBody, requester: Requester) -> bytes:
        """Return the JSON answer to a page of addresses.

        Raises InvalidFields, EpochUnknown for a pepper that does not hold, BudgetExhausted, BudgetTooSmall,
        MatrixLookupForbidden or MatrixLookupsRateLimited.
        """
        if body.algorithm not in self._algorithms:
            raise InvalidFields.at(
                "/algorithm", f"is not offered; {', '.join(self._algorithms)} is"
            )
        if len(body.addresses) > self._directory.max_hashes:
            raise InvalidFields.at("/addresses", f"at most {self._directory.max_hashes} a lookup")
        if body.algorithm == NONE:
            return self._look_up_plain(caller, body, requester)
        page = DigestSet.of(decode_hashes(_well_formed(body.addresses)))
        return b'{"mappings":{' + self._match(caller, body.pepper, page, requester) + b"}}"

    def _look_up_plain(self, caller: MatrixCaller, body: LookupBody, requester: Requester) -> bytes:
        """Hash addresses that came unhashed; the answer names them as they came."""
        found = map(_PLAIN.fullmatch, body.addresses)
        by_hash = {
            encode_hash(digest_number(plain[1], body.pepper)): plain[0] for plain in found if plain
        }
        page = DigestSet.of(decode_hashes(list(by_hash)))
        mappings = self._match(caller, body.pepper, page, requester)
        users = json.loads(b"{" + mappings + b"}")
        answer = {by_hash[digest]: user for digest, user in users.items()}
        return json.dumps({"mappings": answer}).encode()

    def user_of(self, caller: MatrixCaller, number: str, requester: Requester) -> str | None:
        """Return the Matrix user of a number, at the cost of a lookup of it.

        number: international digits. Raises what `look_up` raises.
        """
        salt = self.hash_details().lookup_pepper
        page = DigestSet.of(decode_hashes([encode_hash(digest_number(f"+{number}", salt))]))
        users = json.loads(b"{" + self._match(caller, salt, page, requester) + b"}")
        return next(iter(users.values()), None)

    def _match(
        self, caller: MatrixCaller, pepper: str, page: DigestSet, requester: Requester
    ) -> bytes:
        """Return the members of `mappings` as JSON."""
        with self._database.read() as connection:
            owner = self._identify(connection, caller, requester)
            pending = self._directory.begin(connection, owner, id_of(pepper), page)
        try:
            matches, _ = self._directory.finish(pending, requester)
        except SharedLimitReached as reached:
            raise MatrixLookupsRateLimited(
                "Validate a number to have a budget of your own, or come back later.",
                retry_after=reached.retry_after,
            ) from None
        hashes = encode_hashes(page.digests[matches.mask])
        ids = np.ascontiguousarray(matches.accounts[matches.mask]).view(np.uint8).reshape(-1, 16)
        hexes = ids.tobytes().hex()
        accounts = [hexes[at : at + 32] for at in range(0, len(hexes), 32)]
        users = self._bindings.users_of(accounts)
        bound = np.array([account in users for account in accounts], np.bool_)
        text = hashes[bound].tobytes().decode()
        starts = range(0, len(text), HASH_LENGTH)
        named = {
            text[start : start + HASH_LENGTH]: users[accounts[place]]
            for start, place in zip(starts, np.flatnonzero(bound).tolist(), strict=True)
        }
        others = self._native.write(hashes, ids, ~bound)
        return b",".join(part for part in (json.dumps(named)[1:-1].encode(), others) if part)

    def _identify(
        self, connection: Connection, caller: MatrixCaller, requester: Requester
    ) -> BudgetOwner:
        """Return the owner of the budget: the number that the caller bound, else validated, else the user."""
        e164 = self._bindings.number_of(connection, caller)
        if e164 is None:
            e164 = self._validations.number_of(connection, caller)
        if e164 is None:
            return self._unverified.owner(caller, requester)
        return BudgetOwner(caller.id, subjects_of(self._keyring, e164))


class _MatchWriter:
    """Writes matches of accounts without a binding, by their ids, without a loop over them."""

    def __init__(self, server_name: str | None) -> None:
        identity = "-".join("\1" * length for length in _UUID_GROUPS)
        entry = f'"{chr(0) * HASH_LENGTH}":"@{identity}:{server_name}",'
        self._entry = np.frombuffer(entry.encode(), np.uint8) if server_name else None

    def write(self, hashes: Bytes, ids: Bytes, mask: Mask) -> bytes:
        """Return the matches that a mask selects, as JSON members; empty if no server is named."""
        if self._entry is None or not mask.any():
            return b""
        entries = np.tile(self._entry, (int(mask.sum()), 1))
        entries[:, self._entry == 0] = hashes[mask]
        digits = np.frombuffer(ids[mask].tobytes().hex().encode(), np.uint8)
        entries[:, self._entry == 1] = digits.reshape(-1, 32)
        return entries.tobytes()[:-1]


def _well_formed(addresses: Sequence[str]) -> Sequence[str]:
    """Return the addresses without those that are no hash, which match nobody."""
    joined = "".join(addresses)
    if joined.isascii() and set(map(len, addresses)) <= {HASH_LENGTH}:
        text = joined.encode()
        # Nothing is left after all allowed characters are deleted.
        last = text[HASH_LENGTH - 1 :: HASH_LENGTH]
        if not text.translate(None, _HASH_CHARACTERS) and not last.translate(
            None, _LAST_CHARACTERS
        ):
            return addresses
    return [address for address in addresses if _HASH.fullmatch(address)]
