"""Routes of keys."""

from flask import current_app

from core.api import Api
from messaging.keys.problems import KeysDiffer, TooManyKeyFetches, TooManyKeyUploads
from messaging.keys.schemas import (
    BundlesAnswer,
    IdentitiesAnswer,
    KeyCountsAnswer,
    KeysDigest,
    KeysPath,
    KeysQuery,
    KeysUpload,
)
from messaging.keys.service import KeyService
from tokens.authenticate import Caller, authenticate_device
from tokens.problems import AccountNotFound, DeviceNotFound
from tokens.routes import AUTHENTICATION

keys_api = Api(
    "keys",
    __name__,
    description="Public keys of devices, with which others begin sessions while they are offline",
    authenticate=authenticate_device,
    problems=AUTHENTICATION,
)


def _keys() -> KeyService:
    service: KeyService = current_app.extensions["kith"].messaging.keys
    return service


@keys_api.operation("PUT", "/keys", answer=None, status=204, problems=(TooManyKeyUploads,))
def upload_keys(caller: Caller, body: KeysUpload) -> None:
    """Publish keys of the calling device: at first the first three, later any part."""
    _keys().upload(caller, body)


@keys_api.operation(
    "GET",
    # A UUID, so that `/keys/check` is not an account's.
    "/keys/<uuid:account_id>",
    answer=BundlesAnswer,
    problems=(AccountNotFound, DeviceNotFound, TooManyKeyFetches),
)
def take_keys(caller: Caller, path: KeysPath, query: KeysQuery) -> BundlesAnswer:
    """Take what sessions with an account's devices begin with; one-time keys are handed out once."""
    taken = _keys().take(caller, path.account_id, query.device_id)
    return BundlesAnswer.model_validate(taken, from_attributes=True)


@keys_api.operation(
    "GET",
    "/keys/<uuid:account_id>/identities",
    answer=IdentitiesAnswer,
    problems=(AccountNotFound,),
)
def read_identities(caller: Caller, path: KeysPath) -> IdentitiesAnswer:
    """Read the identity keys of an account's devices, as for a safety number; nothing is used up."""
    found = _keys().identities(path.account_id)
    return IdentitiesAnswer.model_validate(found, from_attributes=True)


@keys_api.operation("GET", "/keys/count", answer=KeyCountsAnswer)
def count_keys(caller: Caller) -> KeyCountsAnswer:
    """Count the one-time keys that the calling device has left."""
    return KeyCountsAnswer.model_validate(_keys().count(caller), from_attributes=True)


@keys_api.operation("POST", "/keys/check", answer=None, status=204, problems=(KeysDiffer,))
def check_keys(caller: Caller, body: KeysDigest) -> None:
    """Compare a digest with what is handed out of the calling device."""
    _keys().check(caller, body.digest)
