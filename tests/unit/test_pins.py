"""Which PINs are easy to guess."""

import random

import pytest

from tokens.pins import weakness_of

NUMBER = "+4915112345678"


@pytest.mark.parametrize(
    "pin",
    [
        *("000000", "111111", "123456", "654321", "012345", "890123", "987654", "135791", "246802"),
        *("121212", "123123", "112211", "787878", "123321", "112233", "665544", "20012001"),
        *("147258", "159753", "142536", "19841984", "20002012", "19902003"),
        *("345678", "876543", "511234"),
        *("abcdef", "QWERTZ", "qwerty", "asdfgh", "password", "Passwort", "abcabc", "aaaaaa"),
    ],
)
def test_obvious_pins(pin: str) -> None:
    """Rows, repetitions, years, parts of the own number and what everybody takes, in either direction."""
    assert weakness_of(pin, NUMBER) is not None


@pytest.mark.parametrize("pin", ["471130", "805263", "290417", "Zw9!k2", "einhorn im keller"])
def test_other_pins(pin: str) -> None:
    """A date or a phrase is the person's to choose."""
    assert weakness_of(pin, NUMBER) is None


def test_hardly_any_pin_is_refused() -> None:
    """Whoever draws six digits is not sent back: one in a hundred at most."""
    draw = random.Random(7)
    pins = [f"{draw.randrange(10**6):06d}" for _ in range(20_000)]
    assert sum(weakness_of(pin, NUMBER) is not None for pin in pins) < 200
