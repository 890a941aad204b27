"""Own the calls that publish this device's public keys and fetch others'; they need the device
token.
"""

from collections.abc import Sequence

from kith.calls.base import Calls, answer, segment
from kith.models import AccountKeys, KeyCounts, Prekey, SignedPrekey, base64url


class KeyCalls(Calls):
    """Publish, count, check and fetch public keys."""

    def publish_keys(
        self,
        *,
        registration_id: int | None = None,
        identity_key: bytes | None = None,
        signed_prekey: SignedPrekey | None = None,
        last_resort_kem_prekey: SignedPrekey | None = None,
        one_time_prekeys: Sequence[Prekey] | None = None,
        one_time_kem_prekeys: Sequence[SignedPrekey] | None = None,
    ) -> None:
        """Publish what is given; the rest stays as it is at the server."""
        body: dict[str, object] = {}
        if registration_id is not None:
            body["registration_id"] = registration_id
        if identity_key is not None:
            body["identity_key"] = base64url(identity_key)
        if signed_prekey is not None:
            body["signed_prekey"] = _written(signed_prekey)
        if last_resort_kem_prekey is not None:
            body["last_resort_kem_prekey"] = _written(last_resort_kem_prekey)
        if one_time_prekeys is not None:
            body["one_time_prekeys"] = [_written(key) for key in one_time_prekeys]
        if one_time_kem_prekeys is not None:
            body["one_time_kem_prekeys"] = [_written(key) for key in one_time_kem_prekeys]
        self._requests.call("PUT", "/v1/keys", body)

    def account_keys(self, account_id: str, *, device_id: str | None = None) -> AccountKeys:
        """Take a bundle for each device of an account, or for one of them; not retried, as each
        takes one-time keys.
        """
        response = self._requests.call(
            "GET",
            f"/v1/keys/{segment(account_id)}",
            query=None if device_id is None else {"device_id": device_id},
            repeatable=False,
        )
        return answer(AccountKeys, response)

    def key_counts(self) -> KeyCounts:
        """Return how many one-time keys of this device are left."""
        return answer(KeyCounts, self._requests.call("GET", "/v1/keys/count"))

    def check_keys(self, digest: bytes) -> None:
        """Raise KeysDiffer when the server would hand out other keys of this device."""
        self._requests.call("POST", "/v1/keys/check", {"digest": base64url(digest)})


def _written(key: Prekey | SignedPrekey) -> dict[str, object]:
    written: dict[str, object] = {
        "key_id": key.key_id,
        "public_key": base64url(key.public_key),
    }
    if isinstance(key, SignedPrekey):
        written["signature"] = base64url(key.signature)
    return written
