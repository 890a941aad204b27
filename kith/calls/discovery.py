"""Own the calls that ask which hashed numbers belong to accounts; they need a token."""

from collections.abc import Sequence

from kith.calls.base import Calls, answer
from kith.models import DiscoveryParameters, Lookup


class DiscoveryCalls(Calls):
    """Find accounts by hashed numbers; `kith.sync` does it for a whole address book."""

    def discovery_parameters(self) -> DiscoveryParameters:
        """Return how to hash numbers now (see `kith.hashing.hash_number`)."""
        response = self._requests.call("GET", "/v1/discovery/parameters")
        return answer(DiscoveryParameters, response)

    def look_up(
        self,
        epoch: str,
        hashes: Sequence[str],
        *,
        known: Sequence[str] = (),
        sync_token: str | None = None,
    ) -> Lookup:
        """Return the account id of each hash that has one; at most `max_hashes` in all.

        hashes: cost one each of the budget. known: hashes that `sync_token`, the answer to an
        earlier lookup of exactly these, proves to be paid for. The request may be repeated after a
        lost answer: the same one costs once. Raise EpochUnknown when the parameters have changed
        (fetch them again and hash anew), BudgetExhausted or BudgetTooSmall when nothing was looked
        up because the budget does not hold all of `hashes`, and ValueError for `known` without a token.
        """
        if known and sync_token is None:
            raise ValueError("Known hashes need the sync token that proves them paid.")
        body: dict[str, object] = {"epoch": epoch, "hashes": list(hashes)}
        # Servers without a budget refuse what they do not know, and never gave a token.
        if sync_token is not None:
            body |= {"known": list(known), "sync_token": sync_token}
        return answer(Lookup, self._requests.call("POST", "/v1/discovery/lookups", body))
