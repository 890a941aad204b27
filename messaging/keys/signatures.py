"""Whether a device signed something: Ed25519 under the identity key that it has published."""

from uuid import UUID

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from sqlalchemy import Connection

from messaging.keys import device_keys as published


def signed_by_device(
    connection: Connection, account_id: UUID, device_id: UUID, message: bytes, signature: bytes
) -> bool:
    """Say whether a device of an account signed a message; one without keys signed nothing."""
    keys = published.find(connection, account_id, device_id)
    if keys is None:
        return False
    try:
        VerifyKey(keys.identity_key).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True
