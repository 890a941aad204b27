"""Own the calls that ask which hashed numbers belong to accounts; they need the device token."""

from collections.abc import Sequence
from dataclasses import dataclass

from kith.calls.base import Calls, answer
from kith.models import DiscoveryParameters


@dataclass(frozen=True)
class _Matches:
    matches: dict[str, str]


class DiscoveryCalls(Calls):
    """Find accounts by hashed numbers; `kith.sync` does it for a whole address book."""

    def discovery_parameters(self) -> DiscoveryParameters:
        """Return how to hash numbers now (see `kith.hashing.hash_number`)."""
        response = self._requests.call("GET", "/v1/discovery/parameters")
        return answer(DiscoveryParameters, response)

    def look_up(self, epoch: str, hashes: Sequence[str]) -> dict[str, str]:
        """Return the account id of each hash that has one; at most `max_hashes` hashes.

        Raise EpochUnknown when the parameters have changed: fetch them again and hash anew.
        """
        body = {"epoch": epoch, "hashes": list(hashes)}
        return answer(_Matches, self._requests.call("POST", "/v1/discovery/lookups", body)).matches
