"""Code binding: which web origins and Android apps the code in a text may be bound to.

The browser fills in the code on the origin that the text names (origin-bound one-time codes), and the app
with the hash reads it (SMS Retriever); so in production the operator lists them.
"""

from verification.problems import AppHashRefused, WebOriginRefused
from verification.schemas import StartVerification
from verification.settings import VerificationSettings


def permitted_origin(settings: VerificationSettings, body: StartVerification) -> str | None:
    """Return the host of the web origin, if the operator allows it and the app hash.

    An empty list allows any in development and none in production. Raises WebOriginRefused or
    AppHashRefused.
    """
    open_to_any = settings.environment == "development"
    origin = body.web_origin
    hosts, hashes = settings.web_origins, settings.android_app_hashes
    if origin and origin not in hosts and (hosts or not open_to_any):
        raise WebOriginRefused("The operator lists allowed hosts in KITH_WEB_ORIGINS.")
    if body.app_hash and body.app_hash not in hashes and (hashes or not open_to_any):
        raise AppHashRefused("The operator lists allowed hashes in KITH_ANDROID_APP_HASHES.")
    return origin
