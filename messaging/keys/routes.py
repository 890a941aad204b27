"""Routes of keys."""

from collections.abc import Callable

from core.api import Api
from messaging.keys.problems import KeysDiffer, TooManyKeyFetches, TooManyKeyUploads
from messaging.keys.schemas import (
    BundleAnswer,
    BundlesAnswer,
    IdentitiesAnswer,
    IdentityAnswer,
    KeyCountsAnswer,
    KeysDigest,
    KeysPath,
    KeysQuery,
    KeysUpload,
)
from messaging.keys.service import KeyService
from tokens.devices import Caller
from tokens.problems import AccountNotFound, DeviceNotFound
from tokens.routes import AUTHENTICATION


def keys_api(keys: KeyService, authenticate: Callable[[], Caller]) -> Api:
    """Return the routes under `/keys`."""
    api = Api(
        "keys",
        __name__,
        description="Public keys of devices, with which others start sessions while they are offline",
        authenticate=authenticate,
        problems=AUTHENTICATION,
    )

    @api.operation("PUT", "/keys", answer=None, status=204, problems=(TooManyKeyUploads,))
    def upload_keys(caller: Caller, body: KeysUpload) -> None:
        """Publish keys of the calling device: at first the first three, later any part."""
        keys.upload(caller, body)

    @api.operation(
        "GET",
        # A UUID, so that `/keys/check` is not an account's.
        "/keys/<uuid:account_id>",
        answer=BundlesAnswer,
        problems=(AccountNotFound, DeviceNotFound, TooManyKeyFetches),
    )
    def fetch_keys(caller: Caller, path: KeysPath, query: KeysQuery) -> BundlesAnswer:
        """Fetch the keys that sessions with an account's devices start with; one-time keys are used up."""
        bundles, without = keys.fetch(caller, path.account_id, query.device_id)
        return BundlesAnswer(
            devices=[BundleAnswer.model_validate(one, from_attributes=True) for one in bundles],
            without_keys=without,
        )

    @api.operation(
        "GET",
        "/keys/<uuid:account_id>/identities",
        answer=IdentitiesAnswer,
        problems=(AccountNotFound,),
    )
    def read_identities(caller: Caller, path: KeysPath) -> IdentitiesAnswer:
        """Read the identity keys of an account's devices, as for a safety number; nothing is used up."""
        identities, without = keys.identities(path.account_id)
        return IdentitiesAnswer(
            devices=[IdentityAnswer(**one._asdict()) for one in identities], without_keys=without
        )

    @api.operation("GET", "/keys/count", answer=KeyCountsAnswer)
    def count_keys(caller: Caller) -> KeyCountsAnswer:
        """Count the one-time keys that the calling device has left."""
        return KeyCountsAnswer.model_validate(keys.count(caller), from_attributes=True)

    @api.operation("POST", "/keys/check", answer=None, status=204, problems=(KeysDiffer,))
    def check_keys(caller: Caller, body: KeysDigest) -> None:
        """Compare a digest with that of the published keys of the calling device."""
        keys.check(caller, body.digest)

    return api
