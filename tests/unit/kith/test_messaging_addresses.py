"""People are called by the names of address books, and nobody is guessed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kith.messaging.accounts import ContactNames
from kith.messaging.store import Store
from kith.messaging.store_encryption import UnlockMethod
from kith.sync import Match


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[ContactNames]:
    """Return addresses of a book with four names."""
    with Store(tmp_path / "store.db", UnlockMethod(tmp_path / "key")) as store:
        addresses = ContactNames(store)
        addresses.add_matches(
            Match(name, "", number, account, 1)
            for name, number, account in (
                ("Ann Lee", "+491", "a1"),
                ("Ann", "+492", "a2"),
                ("Änne Ray", "+493", "a3"),
                ("Mum", "+493", "a3"),
            )
        )
        yield addresses


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ann lee", ["a1"]),
        (" ANN ", ["a2"]),
        ("lee", ["a1"]),
        ("ÄNNE", ["a3"]),
        ("mum", ["a3"]),
        ("le", []),
        ("Ben", []),
    ],
)
def test_names(name: str, found: list[str], addresses: ContactNames) -> None:
    """A whole name is meant before a part of one; case does not count, half words do not fit."""
    assert [one.account_id for one in addresses.find_by_name(name)] == found


def test_several_people_of_one_name(addresses: ContactNames) -> None:
    """All of them are told."""
    addresses.add("a4", "+494", "Ann")
    assert [one.account_id for one in addresses.find_by_name("ann")] == ["a2", "a4"]


def test_labels_and_numbers(addresses: ContactNames) -> None:
    """The first name is shown, else the number, else the id; a number finds who had it last."""
    addresses.add("a5", "+495")
    assert [addresses.label(one) for one in ("a3", "a5", "a6")] == ["Änne Ray", "+495", "a6"]
    addresses.add("a6", "+495")
    found = addresses.find_by_number("+495")
    assert found is not None
    assert found.account_id == "a6"
    assert addresses.find_by_number("+499") is None
