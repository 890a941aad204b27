"""Calls that look up which hashed phone numbers belong to accounts, and the hash.

The hash is the one of the Matrix identity service. It keeps numbers out of logs and tables; it is
no secret, as there are few enough numbers to try them all.
"""

import hashlib
from collections.abc import Sequence

from kith.api import ApiCalls
from kith.models import DiscoveryParameters, Lookup, base64url

DIGEST_BYTES = 32


def digest_number(e164: str, salt: str) -> bytes:
    """Return SHA-256 over "<digits of the E.164 number> msisdn <salt>"."""
    return hashlib.sha256(f"{e164.removeprefix('+')} msisdn {salt}".encode()).digest()


def hash_number(e164: str, salt: str) -> str:
    """Return the digest of a number as the API writes it: base64url, unpadded."""
    return base64url(digest_number(e164, salt))


class DiscoveryCalls(ApiCalls):
    """Find accounts by hashed numbers; `kith.sync` does it for a whole address book."""

    def discovery_parameters(self) -> DiscoveryParameters:
        """Return how to hash numbers now (see `kith.hash_number`)."""
        return self._read(DiscoveryParameters, "GET", "/v1/discovery/parameters")

    def look_up(
        self,
        epoch: str,
        hashes: Sequence[str],
        *,
        known: Sequence[str] = (),
        sync_token: str | None = None,
    ) -> Lookup:
        """Return the account id of each hash that belongs to one; at most `max_hashes` in all.

        hashes: each costs one of the budget. known: hashes that `sync_token`, the answer to an
        earlier lookup of exactly these, proves to be paid for. The same request costs once, however
        often it is repeated. Raise EpochUnknown when the parameters have changed (fetch them and
        hash again), BudgetExhausted or BudgetTooSmall, with nothing looked up, when the budget does
        not cover all of `hashes`, and ValueError for `known` without a token.
        """
        if known and sync_token is None:
            raise ValueError("Known hashes need the sync token that proves them paid.")
        body: dict[str, object] = {"epoch": epoch, "hashes": list(hashes)}
        # A server without budgets rejects unknown fields and never issues a token.
        if sync_token is not None:
            body |= {"known": list(known), "sync_token": sync_token}
        return self._read(Lookup, "POST", "/v1/discovery/lookups", body)
