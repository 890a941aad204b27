"""Request and answer bodies of keys: lengths and encoding. `validation.py` checks the keys themselves."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from core.base64url import encode
from core.binary_fields import described, reads
from core.parsing import Answer, Body, Query

MAX_PREKEYS = 100
MAX_KEY_ID = 2**31 - 1
#: Bytes of an ML-KEM-1024 encapsulation key (FIPS 203, table 3).
KEM_KEY_BYTES = 1_568

Key = Annotated[bytes, BeforeValidator(reads(32)), described(32)]
KemKey = Annotated[bytes, BeforeValidator(reads(KEM_KEY_BYTES)), described(KEM_KEY_BYTES)]
Signature = Annotated[bytes, BeforeValidator(reads(64)), described(64)]
#: Bytes in an answer.
Binary = Annotated[
    bytes,
    PlainSerializer(encode, return_type=str),
    WithJsonSchema({"type": "string", "description": "Base64url without padding."}),
]
KeyId = Annotated[int, Field(ge=0, le=MAX_KEY_ID)]
RegistrationId = Annotated[int, Field(ge=1, le=MAX_KEY_ID)]


class OneTimePrekeyBody(Body):
    """An X25519 key for one session; it is not signed."""

    key_id: KeyId
    public_key: Key


class SignedPrekeyBody(Body):
    """An X25519 key, and a signature of `0x01` and the key by the identity key."""

    key_id: KeyId
    public_key: Key
    signature: Signature


class KemPrekeyBody(Body):
    """An ML-KEM-1024 key, and a signature of `0x02` and the key by the identity key."""

    key_id: KeyId
    public_key: KemKey
    signature: Signature


class KeysUpload(Body):
    """Public keys of the calling device: the first three at first, later any part."""

    registration_id: RegistrationId | None = Field(
        None, description="A new one replaces all keys, and requires a signed_prekey."
    )
    identity_key: Key | None = Field(
        None, description="Ed25519. A new one requires a new registration_id."
    )
    signed_prekey: SignedPrekeyBody | None = None
    last_resort_kem_prekey: KemPrekeyBody | None = None
    one_time_prekeys: list[OneTimePrekeyBody] | None = Field(
        None,
        min_length=1,
        max_length=MAX_PREKEYS,
        description="Replace the remaining ones.",
    )
    one_time_kem_prekeys: list[KemPrekeyBody] | None = Field(
        None,
        min_length=1,
        max_length=MAX_PREKEYS,
        description="Replace the remaining ones. Require a last resort key, here or published before.",
    )


class KeysPath(BaseModel):
    """An account whose keys are fetched."""

    account_id: UUID


class KeysQuery(Query):
    """One of the account's devices, instead of all."""

    device_id: UUID | None = None


class OneTimePrekeyAnswer(Answer):
    """An X25519 key that is handed out once."""

    key_id: int
    public_key: Binary


class SignedPrekeyAnswer(Answer):
    """An X25519 or ML-KEM-1024 key, and its signature by the identity key."""

    key_id: int
    public_key: Binary
    signature: Binary


class BundleAnswer(Answer):
    """The keys that a session with one device starts with."""

    device_id: UUID
    registration_id: int
    identity_key: Binary
    signed_prekey: SignedPrekeyAnswer
    one_time_prekey: OneTimePrekeyAnswer | None
    kem_prekey: SignedPrekeyAnswer | None = Field(
        description="A one-time key, or the last resort key if none is left."
    )


class BundlesAnswer(Answer):
    """A bundle for each device that has published keys, and the devices that have not."""

    devices: list[BundleAnswer]
    without_keys: list[UUID]


class IdentityAnswer(Answer):
    """The identity key of a device: Ed25519, 32 bytes."""

    device_id: UUID
    registration_id: int
    identity_key: Binary


class IdentitiesAnswer(Answer):
    """The identity key of each device that has published keys, and the devices that have not."""

    devices: list[IdentityAnswer]
    without_keys: list[UUID]


class KeyCountsAnswer(Answer):
    """How many one-time keys of each kind are left."""

    one_time_prekeys: int
    one_time_kem_prekeys: int


class KeysDigest(Body):
    """The SHA-256 digest of the keys that the client expects to be published."""

    digest: Key
