"""Weak PINs, which a new PIN must not be.

With ten guesses and one more a day an attacker has a fair chance at the hundred most common six-digit PINs,
and hardly any at the others (P. Markert et al., "This PIN Can Be Easily Guessed", IEEE S&P 2020).
"""

import re
from itertools import pairwise

#: Characters; most people choose six digits.
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


def weakness_of(pin: str, e164: str) -> str | None:
    """Return why a PIN for a number is weak, as the rest of a sentence; None if it is not."""
    text = pin.casefold()
    digits = re.sub(r"\D", "", text)
    if len(set(text)) <= 2:
        return "has too few different characters"
    if _is_run(text):
        return "is a sequence"
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
    """Return whether digits rise or fall in even steps, or characters follow a keyboard row."""
    if any(text in row or text in row[::-1] for row in _ROWS):
        return True
    if not text.isdecimal():
        return False
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(text)}
    pairs = text[::2] == text[1::2] and _is_run(text[::2])
    return len(steps) == 1 or pairs


def _is_repeated(text: str) -> bool:
    """Return whether it repeats a part of itself: 123123, 121212, abcabc."""
    return any(
        len(text) % size == 0 and text[:size] * (len(text) // size) == text
        for size in range(1, len(text) // 2 + 1)
    )
