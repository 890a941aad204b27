"""PINs that somebody who has ten guesses would try first; a new PIN must be none of them.

With ten guesses and one a day, somebody finds one of the hundred most common six-digit PINs with some luck,
and one of the others hardly ever (P. Markert et al., "This PIN Can Be Easily Guessed", IEEE S&P 2020).
"""

import re
from itertools import pairwise

#: Six characters: a person's default is six digits.
MIN_LENGTH = 6

_ROWS = (
    "01234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "yxcvbnm",
)
_COMMON_TEXT = """
    102030 010203 123321 123654 321654 142536 147258 147852 159357 159753 159951 258456 357159 369258
    456852 741852 753159 789456 852456 963852 951753 112358 314159 271828 420420 696969 007007 520131
    134679 123abc abc123 password passwort passw0rd letmein secret geheim kennwort hallo1 iloveyou
    welcome motdepasse contrasena senha1 qwerty1 admin1 monkey dragon
"""
_COMMON = frozenset(_COMMON_TEXT.split())


def why_obvious(pin: str, e164: str) -> str | None:
    """Say why a PIN of the owner of a number is easy to guess; None when it is not."""
    text = pin.casefold()
    digits = re.sub(r"\D", "", text)
    if len(set(text)) <= 2:
        return "has hardly any different characters"
    if _is_run(text):
        return "is a row of neighbours"
    if _is_repeated(text):
        return "repeats itself"
    if text in _COMMON:
        return "is one of the most common"
    if digits == text and (text in e164 or text[::-1] in e164):
        return "is part of the phone number"
    if re.fullmatch(r"(19|20)\d\d(19|20)\d\d", text):
        return "is made of years"
    return None


def _is_run(text: str) -> bool:
    """Whether it goes up or down in even steps, or along a row of a keyboard."""
    if any(text in row or text in row[::-1] for row in _ROWS):
        return True
    if not text.isdecimal():
        return False
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(text)}
    pairs = text[::2] == text[1::2] and _is_run(text[::2])
    return len(steps) == 1 or pairs


def _is_repeated(text: str) -> bool:
    """Whether it is a part of itself, two times or more: 123123, 121212, abcabc."""
    return any(
        len(text) % size == 0 and text[:size] * (len(text) // size) == text
        for size in range(1, len(text) // 2 + 1)
    )
