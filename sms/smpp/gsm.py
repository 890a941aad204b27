"""Encoding of a text: the GSM alphabet if it suffices, else UTF-16 (3GPP TS 23.038, 6.2.1 and 6.2.3).

SMPP carries one septet an octet. A text of more than one segment would cost twice and can arrive in part.
"""

from smpplib import consts
from smpplib.gsm import GSM_CHARACTER_TABLE

MAX_SEPTETS = 160
MAX_UTF16_OCTETS = 140
_ESCAPE = 0x1B
_EXTENSION = 0x80

#: The position of each character; 128 more means in the extension table, after an escape. smpplib fills gaps
#: with grave accents, which GSM does not have, and lacks the section sign and the form feed.
_POSITIONS = {
    character: position
    for position, character in enumerate(GSM_CHARACTER_TABLE)
    if character not in "`\x1b"
} | {"§": 0x5F, "\f": _EXTENSION + 0x0A}


def encode(text: str) -> tuple[int, bytes]:
    """Return SMPP's data_coding (0 or 8) and the octets of a text.

    Raises ValueError if it takes more than one segment or is not valid Unicode.
    """
    if _POSITIONS.keys() >= set(text):
        positions = [_POSITIONS[character] for character in text]
        octets = b"".join(
            bytes((_ESCAPE, position - _EXTENSION))
            if position >= _EXTENSION
            else bytes((position,))
            for position in positions
        )
        coding, largest = consts.SMPP_ENCODING_DEFAULT, MAX_SEPTETS
    else:
        octets = text.encode("utf-16-be")
        coding, largest = consts.SMPP_ENCODING_ISO10646, MAX_UTF16_OCTETS
    if len(octets) > largest:
        raise ValueError("a text of more than one segment")
    return coding, octets
