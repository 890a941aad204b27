"""Hashes of numbers: the definition, and the wire form of a page."""

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.digests import HASH_PATTERN, decode_hashes, digest_number, encode_hash

digests = st.binary(min_size=32, max_size=32)


def test_a_number_is_hashed_as_the_matrix_identity_service_defines_it():
    """The hashed text is digits, medium and salt, separated by single spaces."""
    text = b"4915112345678 msisdn matrixrocks"
    assert digest_number("+4915112345678", "matrixrocks") == hashlib.sha256(text).digest()


@given(st.lists(digests, max_size=50))
def test_a_page_is_decoded_in_order(page):
    """What was encoded one by one comes back all at once, in the same order."""
    assert decode_hashes([encode_hash(digest) for digest in page]) == b"".join(page)


@given(digests)
def test_the_pattern_takes_every_digest(digest):
    """Every digest has a text that the pattern accepts."""
    assert re.fullmatch(HASH_PATTERN, encode_hash(digest))


@given(digests, st.integers(min_value=1, max_value=3))
def test_the_pattern_refuses_a_second_text_of_a_digest(digest, spare):
    """A last character with spare bits set decodes to the same digest, so it is refused."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    text = encode_hash(digest)
    other = text[:-1] + alphabet[alphabet.index(text[-1]) + spare]
    assert base64.urlsafe_b64decode(other + "=") == digest
    assert re.fullmatch(HASH_PATTERN, other) is None


@pytest.mark.parametrize("text", ["", "A" * 42, "A" * 44, "A" * 42 + "=", "+" + "A" * 42])
def test_the_pattern_refuses_other_lengths_and_alphabets(text):
    """Only 43 characters of base64url are a hash."""
    assert re.fullmatch(HASH_PATTERN, text) is None
