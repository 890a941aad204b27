"""Octets of texts: the whole GSM alphabet as the standard has it, else UTF-16, one segment at most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.smpp.gsm import encode

#: 3GPP TS 23.038, 6.2.1, by position; 0x1B is the escape.
BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
#: 6.2.1.1, behind the escape.
EXTENSION = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}


def test_the_alphabet_is_the_standards() -> None:
    """Each of its characters has its septet, behind the escape where it is in the extension."""
    assert len(BASIC) == 128
    for position, character in enumerate(BASIC):
        if character != "\x1b":
            assert encode(character) == (0, bytes((position,)))
    for character, position in EXTENSION.items():
        assert encode(character) == (0, bytes((0x1B, position)))


@given(st.text(st.sampled_from([*BASIC, *EXTENSION, *"`ж是🔑"]), max_size=35))
def test_other_texts_are_utf_16(text: str) -> None:
    """What has one character outside the alphabet can be read back whole from UTF-16."""
    coding, octets = encode(text)
    if set(text) <= set(BASIC.replace("\x1b", "")) | EXTENSION.keys():
        assert coding == 0
        assert len(octets) == sum(1 + (character in EXTENSION) for character in text)
    else:
        assert (coding, octets.decode("utf-16-be")) == (8, text)


@pytest.mark.parametrize("text", ["a" * 160, "€" * 80, "是" * 70, "🔑" * 35, ""])
def test_one_segment_fits(text: str) -> None:
    """160 septets and 70 units of UTF-16 are taken, and not one more."""
    encode(text)
    for longer in (text + text[:1], "a" * 161, "是" * 71):
        if longer != "":
            with pytest.raises(ValueError, match="more than one segment"):
                encode(longer)


def test_half_a_character_is_refused() -> None:
    """A surrogate alone is no text."""
    with pytest.raises(ValueError, match="surrogates"):
        encode("\ud83d")
