"""Codes: HOTP with SHA-256, of 6 or 8 digits, one for each verification and server secret."""

import hashlib
import hmac
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secrets import Keyring
from verification.codes import LONG, SHORT, TEST_KEY_ID, CodeBook, derive

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
BOOK = CodeBook(Keyring((KEY, OTHER_KEY)))
ids = st.binary(min_size=32, max_size=32)


def hotp(key: bytes, counter: int, digits: int, algorithm: str) -> str:
    """Compute HOTP as RFC 4226 section 5.3 writes it, independently of the product."""
    digest = hmac.new(key, counter.to_bytes(8, "big"), algorithm).digest()
    start = digest[-1] % 16
    binary = (
        (digest[start] & 0x7F) << 24
        | digest[start + 1] << 16
        | digest[start + 2] << 8
        | digest[start + 3]
    )
    return str(binary % 10**digits).rjust(digits, "0")


RFC_4226 = "755224 287082 359152 969429 338314 254676 287922 162583 399871 520489"


@pytest.mark.parametrize(("counter", "expected"), list(enumerate(RFC_4226.split(" "))))
def test_the_reference_gives_rfc_4226_appendix_d(counter: int, expected: str) -> None:
    """The reference that codes are held against below gives the RFC's vectors."""
    assert hotp(b"12345678901234567890", counter, 6, "sha1") == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (59, "46119246"),
        (1111111109, "68084774"),
        (1234567890, "91819424"),
        (20000000000, "77737706"),
    ],
)
def test_the_reference_gives_rfc_6238_appendix_b(time: int, expected: str) -> None:
    """And with SHA-256 and 8 digits those of TOTP."""
    assert hotp(b"12345678901234567890123456789012", time // 30, 8, "sha256") == expected


@given(key=st.binary(min_size=16, max_size=64), identity=ids, digits=st.sampled_from([SHORT, LONG]))
def test_a_code_is_hotp_under_its_own_key(key: bytes, identity: bytes, digits: int) -> None:
    """It is HOTP at counter 0 under HMAC(server key, verification), always the same, all digits."""
    own_key = hmac.new(key, identity, hashlib.sha256).digest()
    code = derive(key, identity, digits)
    assert code == hotp(own_key, 0, digits, "sha256")
    assert code == derive(key, identity, digits)
    assert len(code) == digits
    assert code.isdecimal() and code.isascii()


def test_leading_zeros_are_kept() -> None:
    """A code that starts with zeros has all its digits."""
    found = [derive(KEY, n.to_bytes(32, "big"), SHORT) for n in range(3000)]
    small = [code for code in found if code.startswith("00")]
    assert small
    assert {len(code) for code in small} == {SHORT}


def test_codes_are_spread_evenly() -> None:
    """Over 20,000 verifications each digit stands at each place about a tenth of the time."""
    count = 20_000
    codes = [derive(KEY, n.to_bytes(32, "big"), LONG) for n in range(count)]
    for place in range(LONG):
        seen = Counter(code[place] for code in codes)
        # Chi squared with 9 degrees of freedom stays below 33.7 but for one in 10,000; fixed input.
        assert sum((seen[d] - count / 10) ** 2 / (count / 10) for d in "0123456789") < 33.7
    assert len(set(codes)) > 0.999 * count


def test_verifications_and_secrets_are_independent() -> None:
    """Next ids, swapped halves and other secrets have other codes."""
    first, second = b"a" * 16, b"b" * 16
    inputs = [
        (key, identity)
        for key in (KEY, OTHER_KEY)
        for identity in (first + second, second + first, first + first, first + b"b" * 15 + b"c")
    ]
    assert len({derive(key, identity, LONG) for key, identity in inputs}) == len(inputs)


def test_the_book_judges_under_the_secret_of_the_verification() -> None:
    """A code belongs to the secret it was made under, also when that is the previous one."""
    identity = b"i" * 32
    for keyring in (Keyring((KEY,)), Keyring((OTHER_KEY,))):
        code = CodeBook(keyring).code(keyring.key_id(), identity, SHORT)
        assert code is not None
        assert BOOK.matches(keyring.key_id(), identity, SHORT, code)
        assert not BOOK.matches(keyring.key_id(), b"j" * 32, SHORT, code)
        assert not BOOK.matches(keyring.key_id(), identity, LONG, code)
    gone = Keyring((b"g" * 32,)).key_id()
    assert BOOK.code(gone, identity, SHORT) is None


def test_the_book_knows_codes_of_test_numbers() -> None:
    """A test number's code is found by its digest, at its own length, and only for its key id."""
    book = CodeBook(Keyring((KEY,)), {b"n" * 16: "123456"})
    identity = b"n" * 16 + b"r" * 16

    assert book.code(TEST_KEY_ID, identity, SHORT) == "123456"
    assert book.matches(TEST_KEY_ID, identity, SHORT, "123456")
    assert book.code(TEST_KEY_ID, identity, LONG) is None
    assert not book.matches(TEST_KEY_ID, b"o" * 16 + b"r" * 16, SHORT, "123456")
    assert not book.matches(Keyring((KEY,)).key_id(), identity, SHORT, "123456")


@given(identity=ids, given_code=st.text(max_size=10))
def test_nothing_but_the_code_matches(identity: bytes, given_code: str) -> None:
    """Any text is compared without an error, and only the code is right."""
    key_id = Keyring((KEY,)).key_id()
    code = BOOK.code(key_id, identity, SHORT)
    assert BOOK.matches(key_id, identity, SHORT, given_code) is (given_code == code)
    assert not BOOK.matches("00000000", identity, SHORT, given_code)
