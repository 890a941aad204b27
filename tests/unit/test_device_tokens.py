"""Device tokens and link codes: read as they were written, and refused when anything is altered."""

import base64
import hashlib
import re
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secrets import Keyring
from tokens.token_issuer import (
    LINK_PREFIX,
    TOKEN_PREFIX,
    Credential,
    TokenIssuer,
    decode,
    encode,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
OLD, NEW = b"o" * 32, b"n" * 32
SAMPLE = Credential((UUID(int=1), UUID(int=2)), bytes(range(32)))

credentials = st.builds(
    Credential, st.tuples(st.uuids(), st.uuids()), st.binary(min_size=32, max_size=32)
)


def parse(token: str) -> Credential | None:
    """Read a device token."""
    return Credential.parse(TOKEN_PREFIX, 2, token)


@given(credentials)
def test_a_token_is_read_as_it_was_written(credential: Credential) -> None:
    """Ids and secret come back, and the token has the one form that is documented."""
    token = credential.format(TOKEN_PREFIX)
    assert parse(token) == credential
    assert re.fullmatch(r"kith_[A-Za-z0-9_-]{91}", token)


@given(st.uuids(), st.binary(min_size=32, max_size=32))
def test_a_link_code_is_read_as_it_was_written(account_id: UUID, secret: bytes) -> None:
    """The account and the secret come back."""
    credential = Credential((account_id,), secret)
    assert Credential.parse(LINK_PREFIX, 1, credential.format(LINK_PREFIX)) == credential


@given(
    credentials,
    st.integers(0, 95),
    st.one_of(st.sampled_from(ALPHABET), st.sampled_from("+/= \n\x00é"), st.characters()),
)
def test_any_altered_character_is_refused(
    credential: Credential, place: int, character: str
) -> None:
    """A token with one other character, wherever and whatever it is, is none."""
    token = credential.format(TOKEN_PREFIX)
    altered = token[:place] + character + token[place + 1 :]
    assert (parse(altered) is None) is (altered != token)


@given(credentials, st.integers(0, 95), st.integers(1, 95))
def test_cut_doubled_and_swapped_tokens_are_refused(
    credential: Credential, place: int, length: int
) -> None:
    """A token that lost, repeats or swaps characters is none."""
    token = credential.format(TOKEN_PREFIX)
    swapped = token[:place] + token[place : place + 2][::-1] + token[place + 2 :]
    assert parse(token[:place] + token[place + length :]) is None
    assert parse(token[: place + 1] + token[place:]) is None
    assert (parse(swapped) is None) is (swapped != token)


@pytest.mark.parametrize(
    "spell",
    [
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token.upper(),
        lambda token: token.removeprefix("kith_"),
        lambda token: "kithlink_" + token.removeprefix("kith_"),
        lambda token: "KITH_" + token.removeprefix("kith_"),
        lambda token: token.replace("-", "+").replace("_", "/"),
        lambda token: "",
        lambda token: "kith_",
        lambda token: "kith_" + "A" * 91,
    ],
)
def test_other_spellings_are_refused(spell: Callable[[str], str]) -> None:
    """A token has one spelling."""
    assert parse(spell(SAMPLE.format(TOKEN_PREFIX))) is None


def test_the_spare_bits_of_the_last_character() -> None:
    """Of the four last characters that decode to the same bytes one is the token."""
    token = SAMPLE.format(TOKEN_PREFIX)
    last = ALPHABET.index(token[-1])
    twins = [token[:-1] + ALPHABET[last - last % 4 + spare] for spare in range(4)]
    payloads = {base64.urlsafe_b64decode(t.removeprefix("kith_") + "=") for t in twins}
    assert len(payloads) == 1
    assert [parse(twin) is not None for twin in twins] == [twin == token for twin in twins]


def test_prefixes_are_not_mixed_up() -> None:
    """What was made as one kind is not read as another, even with as many ids."""
    link = Credential(SAMPLE.ids[:1], SAMPLE.secret)
    assert Credential.parse(TOKEN_PREFIX, 1, link.format(LINK_PREFIX)) is None
    assert Credential.parse(LINK_PREFIX, 1, link.format(TOKEN_PREFIX)) is None
    assert Credential.parse(LINK_PREFIX, 2, link.format(LINK_PREFIX)) is None
    body = link.format(TOKEN_PREFIX).removeprefix(TOKEN_PREFIX)
    assert Credential.parse(LINK_PREFIX, 1, LINK_PREFIX + body) is None


@given(st.binary(max_size=80))
def test_base64url_is_canonical(data: bytes) -> None:
    """Bytes come back from their text, and only from it and only at their size."""
    text = encode(data)
    assert decode(text, len(data)) == data
    assert decode(text, len(data) + 1) is None
    assert decode(text + "=", len(data)) is None
    assert set(text) <= set(ALPHABET)


@given(st.text(max_size=60), st.integers(0, 48))
def test_any_text_is_bytes_or_not(text: str, size: int) -> None:
    """Whatever is given is read at the right size or refused; nothing is guessed."""
    data = decode(text, size)
    assert data is None or (len(data) == size and encode(data) == text)


def test_of_a_secret_its_hash_is_stored() -> None:
    """It is the plain SHA-256, and showing a credential shows neither."""
    assert SAMPLE.secret_hash == hashlib.sha256(SAMPLE.secret).digest()
    assert SAMPLE.secret.hex() not in repr(SAMPLE)
    assert repr(SAMPLE.secret) not in repr(SAMPLE)


class TestTokenIssuer:
    """Secrets are random, or derived so that a repeated request gets its token again."""

    issuer = TokenIssuer(Keyring((NEW, OLD)), lambda size: b"r" * size)

    def test_without_a_key_it_is_random(self) -> None:
        """The source of entropy gives all of it."""
        assert self.issuer.secrets(b"context", None) == [b"r" * 32]

    def test_with_a_key_it_is_the_same_again(self) -> None:
        """The same context and key give the same secret, with no randomness in it."""
        secret = self.issuer.secrets(b"context", "key")[0]
        assert secret == self.issuer.secrets(b"context", "key")[0]
        assert len(secret) == 32
        assert secret != b"r" * 32

    def test_contexts_keys_and_server_secrets_are_apart(self) -> None:
        """Any other context, key or server secret gives another secret."""
        old = TokenIssuer(Keyring((OLD,)), lambda size: b"r" * size)
        secrets = {
            self.issuer.secrets(b"context", "key")[0],
            self.issuer.secrets(b"context", "other")[0],
            self.issuer.secrets(b"other", "key")[0],
            self.issuer.secrets(b"contextkey", "y")[0],
            old.secrets(b"context", "key")[0],
        }
        assert len(secrets) == 5

    def test_while_rotating_the_secret_before_is_found(self) -> None:
        """The secrets under every accepted server secret are given, the current one's first."""
        old = TokenIssuer(Keyring((OLD,)), lambda size: b"r" * size)
        current, before = self.issuer.secrets(b"context", "key")
        assert current == self.issuer.secrets(b"context", "key")[0]
        assert before == old.secrets(b"context", "key")[0]
