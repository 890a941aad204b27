"""Own the calls that publish this device's public keys and take those of others; they need the
device token.

Refuse to make keys and to trust them: whose they are is the caller's to compare.
"""

import dataclasses
from collections.abc import Sequence

from kith.calls.base import Calls, answer, segment
from kith.key_models import Identities, KeyCounts, Prekey, SignedPrekey, TakenKeys
from kith.models import base64url
from kith.problems import KeysDiffer


class KeyCalls(Calls):
    """Publish, take, count, compare."""

    def upload_keys(
        self,
        *,
        registration_id: int | None = None,
        identity_key: bytes | None = None,
        signed_prekey: SignedPrekey | None = None,
        last_resort_kem_prekey: SignedPrekey | None = None,
        one_time_prekeys: Sequence[Prekey] | None = None,
        one_time_kem_prekeys: Sequence[SignedPrekey] | None = None,
    ) -> None:
        """Publish keys of this device: the first time the first three, later any part.

        One-time keys, 1 to 100 of a kind, take the place of those that are left. Another
        registration_id begins anew: it needs a signed_prekey, and all that is not in the same call
        is removed but the identity key; another identity_key needs another registration_id. Raise
        InvalidFields, with nothing changed, for a key or signature that is not valid.
        """
        body: dict[str, object] = {}
        if registration_id is not None:
            body["registration_id"] = registration_id
        if identity_key is not None:
            body["identity_key"] = base64url(identity_key)
        for name, key in (
            ("signed_prekey", signed_prekey),
            ("last_resort_kem_prekey", last_resort_kem_prekey),
        ):
            if key is not None:
                body[name] = _written(key)
        for name, keys in (
            ("one_time_prekeys", one_time_prekeys),
            ("one_time_kem_prekeys", one_time_kem_prekeys),
        ):
            if keys is not None:
                body[name] = [_written(key) for key in keys]
        self._requests.call("PUT", "/v1/keys", body)

    def take_keys(self, account_id: str, *, device_id: str | None = None) -> TakenKeys:
        """Take a bundle for each device of an account, or for one; of the own account, for each
        other device.

        One-time keys in it are nobody else's. Raise TooManyKeyTakes, with nothing taken, when this
        account took too often.
        """
        query = None if device_id is None else {"device_id": device_id}
        path = f"/v1/keys/{segment(account_id)}"
        return answer(TakenKeys, self._requests.call("GET", path, query=query))

    def identities(self, account_id: str) -> Identities:
        """Return the identity keys of an account's devices, this one's too; none is used up by it."""
        path = f"/v1/keys/{segment(account_id)}/identities"
        return answer(Identities, self._requests.call("GET", path))

    def count_keys(self) -> KeyCounts:
        """Return how many one-time keys of this device are left."""
        return answer(KeyCounts, self._requests.call("GET", "/v1/keys/count"))

    def keys_are_as_published(self, digest: bytes) -> bool:
        """Return whether the server would hand out the keys of `kith.key_models.keys_digest`."""
        try:
            self._requests.call("POST", "/v1/keys/check", {"digest": base64url(digest)})
        except KeysDiffer:
            return False
        return True


def _written(key: Prekey | SignedPrekey) -> dict[str, int | str]:
    """Return a key as the API writes it."""
    return {
        name: base64url(value) if isinstance(value, bytes) else value
        for name, value in dataclasses.asdict(key).items()
    }
