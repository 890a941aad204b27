"""The Double Ratchet: its functions, its limits, and synchronous calls of the library.

https://signal.org/docs/specifications/doubleratchet/ with X25519, HKDF-SHA256 for the root chain,
HMAC-SHA256 for the message chains and AES-256-GCM for messages.
"""

import struct
import warnings
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import doubleratchet
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from doubleratchet.recommended import HashFunction, kdf_hkdf, kdf_separate_hmacs
from doubleratchet.recommended import diffie_hellman_ratchet_curve25519 as curve25519

#: Keys of missing messages in one session; a message further ahead is rejected.
MAX_SKIPPED_KEYS = 1_000

Result = TypeVar("Result")


class NotDecrypted(Exception):
    """A message cannot be decrypted: it was changed, was read before, is too far ahead of others,
    or belongs to another session.
    """


class _RootChain(kdf_hkdf.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"kith v1 root chain"


class _MessageChain(kdf_separate_hmacs.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class _MessageCipher(doubleratchet.AEAD):
    """AES-256-GCM; the library's own CBC with HMAC does not compare tags in constant time."""

    @staticmethod
    async def encrypt(plaintext: bytes, key: bytes, associated_data: bytes) -> bytes:
        cipher, nonce = _cipher(key)
        return cipher.encrypt(nonce, plaintext, associated_data)

    @staticmethod
    async def decrypt(ciphertext: bytes, key: bytes, associated_data: bytes) -> bytes:
        cipher, nonce = _cipher(key)
        try:
            return cipher.decrypt(nonce, ciphertext, associated_data)
        except InvalidTag:
            raise doubleratchet.AuthenticationFailedException from None


class Ratchet(doubleratchet.DoubleRatchet):
    """One end of a session; its messages are a header of 40 bytes and a ciphertext."""

    @classmethod
    def initiate(
        cls, secret: bytes, their_key: bytes, plaintext: bytes, associated_data: bytes
    ) -> tuple[Self, bytes]:
        """Return the sender's end with its first message; `their_key` is the signed prekey."""
        ratchet, message = run_sync(
            cls.encrypt_initial_message(
                **_CONFIGURATION,
                shared_secret=secret,
                recipient_ratchet_pub=their_key,
                message=plaintext,
                associated_data=associated_data,
            )
        )
        return ratchet, _encode_message(message)

    @classmethod
    def respond(
        cls, secret: bytes, own_key: bytes, message: bytes, associated_data: bytes
    ) -> tuple[Self, bytes]:
        """Return the recipient's end with the content of the first message; raise NotDecrypted."""
        with _library_errors():
            return run_sync(
                cls.decrypt_initial_message(
                    **_CONFIGURATION,
                    shared_secret=secret,
                    own_ratchet_priv=own_key,
                    message=_decode_message(message),
                    associated_data=associated_data,
                )
            )

    @classmethod
    def from_state(cls, state: bytes) -> Self:
        """Return the end of a session from its state."""
        model = doubleratchet.DoubleRatchetModel.model_validate_json(state)
        return cls.from_model(model, **_CONFIGURATION)

    def state(self) -> bytes:
        """Return the state for `from_state`; it has secret keys."""
        return self.model.model_dump_json().encode()

    def encrypt(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """Return the next message; save the state before the message leaves."""
        return _encode_message(run_sync(self.encrypt_message(plaintext, associated_data)))

    def decrypt(self, message: bytes, associated_data: bytes) -> bytes:
        """Return the content of a message; raise NotDecrypted, with nothing changed."""
        with _library_errors():
            return run_sync(self.decrypt_message(_decode_message(message), associated_data))

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: doubleratchet.Header) -> bytes:
        return associated_data + _header(header)


_CONFIGURATION: dict[str, Any] = {
    "diffie_hellman_ratchet_class": curve25519.DiffieHellmanRatchet,
    "root_chain_kdf": _RootChain,
    "message_chain_kdf": _MessageChain,
    # HMAC over 0x02 is the next chain key, over 0x01 the message key.
    "message_chain_constant": b"\x02\x01",
    "dos_protection_threshold": MAX_SKIPPED_KEYS,
    "max_num_skipped_message_keys": MAX_SKIPPED_KEYS,
    "aead": _MessageCipher,
}
_LIBRARY_ERRORS = (
    doubleratchet.AuthenticationFailedException,
    doubleratchet.DecryptionFailedException,
    doubleratchet.DoSProtectionException,
    doubleratchet.DuplicateMessageException,
    ValueError,  # a ratchet key that X25519 does not take
)
_KEY_BYTES = 32
_HEADER_BYTES = _KEY_BYTES + 4 + 4


def _cipher(key: bytes) -> tuple[AESGCM, bytes]:
    """Return the cipher and nonce of one message; its key is used once."""
    material = HKDF(hashes.SHA256(), 44, salt=None, info=b"kith v1 message").derive(key)
    return AESGCM(material[:32]), material[32:]


def run_sync(steps: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine that never waits.

    The library's functions are async and await only each other. asyncio.run would create a loop
    each time, and fail in a program that runs one already.
    """
    try:
        steps.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise AssertionError("the ratchet waits for nothing")


@contextmanager
def _library_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        # Many messages were lost at once: their keys are dropped and the session continues.
        warnings.simplefilter("ignore", UserWarning)
        try:
            yield
        except _LIBRARY_ERRORS:
            raise NotDecrypted from None


def _header(header: doubleratchet.Header) -> bytes:
    return header.ratchet_pub + struct.pack(
        ">II", header.previous_sending_chain_length, header.sending_chain_length
    )


def _encode_message(message: doubleratchet.EncryptedMessage) -> bytes:
    return _header(message.header) + message.ciphertext


def _decode_message(message: bytes) -> doubleratchet.EncryptedMessage:
    if len(message) < _HEADER_BYTES:
        raise NotDecrypted
    previous, number = struct.unpack_from(">II", message, _KEY_BYTES)
    header = doubleratchet.Header(message[:_KEY_BYTES], previous, number)
    return doubleratchet.EncryptedMessage(header, message[_HEADER_BYTES:])
