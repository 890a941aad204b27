"""What a text may end in: the origin or the app that its code is bound to.

Owns whom an operator allows. Refuses strangers in production: a text bound to a stranger's origin fills in
the code there, and the app that a hash names reads it.
"""

from verification.problems import AppHashRefused, WebOriginRefused
from verification.schemas import StartVerification
from verification.settings import VerificationSettings


def permitted_origin(settings: VerificationSettings, body: StartVerification) -> str | None:
    """Give the host of the web origin, if the operator allows it and the app hash.

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
