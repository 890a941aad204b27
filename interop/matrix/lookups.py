"""Lookups of this door: pages of hashes into Matrix users, out of the one directory and its budgets.

Owns who pays: the number that the caller bound or validated, as on our own routes; who has neither is in
unproven.py. Owns as whom somebody is found: as the user that her number is bound to, or else, if
the settings name a server, by her account's id there. Refuses algorithms that are not offered.
"""

import json
import re
import string
from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection

from core.problems import InvalidFields
from core.requester import Requester
from core.secrets import Keyring
from discovery.budget_owners import BudgetOwner, subjects_of
from discovery.epochs import id_of
from discovery.hashes import (
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
from discovery.service import DiscoveryService
from interop.matrix.accounts import MatrixCaller
from interop.matrix.bindings import MEDIUM, BindingService
from interop.matrix.schemas import HashDetailsAnswer, LookupBody
from interop.matrix.sessions import ValidationService
from interop.matrix.settings import MatrixSettings
from interop.matrix.unproven import UnprovenBudgets

SHA256, NONE = "sha256", "none"
_HASH = re.compile(HASH_PATTERN)
_PLAIN = re.compile(rf"([0-9]{{1,15}}) {MEDIUM}")
#: The characters of a hash, and of those the last one's.
_ANYWHERE = (string.ascii_letters + string.digits + "-_").encode()
_LAST = b"AEIMQUYcgkosw048"
_ID_DASHES = (8, 4, 4, 4, 12)


class MatrixLookupService:
    """Looks up users of Matrix by hashed numbers."""

    def __init__(
        self,
        directory: DiscoveryService,
        bindings: BindingService,
        validations: ValidationService,
        keyring: Keyring,
        settings: MatrixSettings,
    ) -> None:
        self._directory = directory
        self._bindings = bindings
        self._validations = validations
        self._keyring = keyring
        self._algorithms = [SHA256, NONE] if settings.matrix_plain_lookups else [SHA256]
        self._native = _Template(settings.matrix_server_name)
        self._unproven = UnprovenBudgets(keyring, settings)

    def hash_details(self) -> HashDetailsAnswer:
        """Say how to hash now."""
        epoch, _ = self._directory.parameters()
        return HashDetailsAnswer(lookup_pepper=epoch.salt, algorithms=self._algorithms)

    def look_up(self, caller: MatrixCaller, body: LookupBody, requester: Requester) -> bytes:
        """Give the JSON answer to a page of addresses.

        Raises InvalidFields, EpochUnknown for a pepper that does not hold, BudgetExhausted, BudgetTooSmall,
        MatrixLookupForbidden or HomeserverCeilingReached.
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
        """Hash what came unhashed, and name it in the answer as it came."""
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
        """Give the Matrix user of a number, as a lookup of it alone would, and at its price.

        number: international digits. Raises what `look_up` does.
        """
        salt = self.hash_details().lookup_pepper
        page = DigestSet.of(decode_hashes([encode_hash(digest_number(f"+{number}", salt))]))
        users = json.loads(b"{" + self._match(caller, salt, page, requester) + b"}")
        return next(iter(users.values()), None)

    def _match(
        self, caller: MatrixCaller, pepper: str, page: DigestSet, requester: Requester
    ) -> bytes:
        """Write the members of `mappings`."""

        def identified(connection: Connection) -> BudgetOwner:
            return self._identify(connection, caller, requester)

        _, found, _ = self._directory.find(id_of(pepper), page, identified, requester)
        hashes = encode_hashes(page.digests[found.here])
        ids = np.ascontiguousarray(found.accounts[found.here]).view(np.uint8).reshape(-1, 16)
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
        """Say who pays: a number that the caller bound, or else validated in a session that still holds."""
        e164 = self._bindings.number_of(connection, caller)
        if e164 is None:
            e164 = self._validations.number_of(connection, caller)
        if e164 is None:
            return self._unproven.asker(caller, requester)
        return BudgetOwner(caller.id, subjects_of(self._keyring, e164))


class _Template:
    """Writes matches of people who are known by their account's id, without a loop over them."""

    def __init__(self, server_name: str | None) -> None:
        identity = "-".join("\1" * length for length in _ID_DASHES)
        entry = f'"{chr(0) * HASH_LENGTH}":"@{identity}:{server_name}",'
        self._entry = np.frombuffer(entry.encode(), np.uint8) if server_name else None

    def write(self, hashes: Bytes, ids: Bytes, mask: Mask) -> bytes:
        """Write the matches that a mask names; nothing when no server is named."""
        if self._entry is None or not mask.any():
            return b""
        entries = np.tile(self._entry, (int(mask.sum()), 1))
        entries[:, self._entry == 0] = hashes[mask]
        digits = np.frombuffer(ids[mask].tobytes().hex().encode(), np.uint8)
        entries[:, self._entry == 1] = digits.reshape(-1, 32)
        return entries.tobytes()[:-1]


def _well_formed(addresses: Sequence[str]) -> Sequence[str]:
    """Leave out what is no hash: it matches nobody, and is no reason to refuse the others."""
    joined = "".join(addresses)
    if joined.isascii() and set(map(len, addresses)) <= {HASH_LENGTH}:
        text = joined.encode()
        # What is left when all that may be there is deleted.
        last = text[HASH_LENGTH - 1 :: HASH_LENGTH]
        if not text.translate(None, _ANYWHERE) and not last.translate(None, _LAST):
            return addresses
    return [address for address in addresses if _HASH.fullmatch(address)]
