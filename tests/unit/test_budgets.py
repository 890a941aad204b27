"""Budgets as operators write them."""

import pytest

from core.budgets import MAX_HASHES, MAX_REFILL, Budget


@pytest.mark.parametrize(
    "text", ["20000:500", "1:1", f"{MAX_REFILL}:1", f"{MAX_HASHES}:{MAX_HASHES}"]
)
def test_it_is_written_as_it_is_read(text: str) -> None:
    """Burst and rate a day, up to the bounds."""
    assert str(Budget.read(text)) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "such as"),
        ("20000", "such as"),
        ("20000:", "such as"),
        ("a:b", "such as"),
        ("-1:5", "such as"),
        (" 1:1", "such as"),
        ("1:1\n", "such as"),
        ("٣:٣", "such as"),
        ("0:1", "such as"),
        ("1:0", "such as"),
        (f"{MAX_HASHES + 1}:{MAX_HASHES}", "such as"),
        (f"{MAX_REFILL + 1}:1", "days to refill"),
    ],
)
def test_what_cannot_be_is_refused(text: str, named: str) -> None:
    """What is no budget, and one that is forgotten before it is refilled."""
    with pytest.raises(ValueError, match=named):
        Budget.read(text)
