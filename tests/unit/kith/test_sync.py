"""An address book is matched page by page, over changes of the hashing parameters."""

import json
from collections.abc import Callable

import httpx
import pytest

from kith import Kith, hash_number
from kith.contacts import Contact, Fault, WrittenNumber
from kith.problems import EpochUnknown
from kith.sync import Book, gather, match
from tests.unit.kith.canned import PARAMETERS, Script, ok, problem

OWN = "+4915100000000"


def contact(name: str, *numbers: str) -> Contact:
    """Return a contact with its numbers on lines of their own."""
    written = tuple(WrittenNumber(text, line) for line, text in enumerate(numbers, start=1))
    return Contact(name, written, 1)


def book_of(*numbers: str) -> Book:
    """Return a book of one contact a number."""
    return gather([contact(f"N{i}", number) for i, number in enumerate(numbers)], region="DE")


def here(*numbers: str, salt: str) -> Callable[[httpx.Request], httpx.Response]:
    """Return an answer that knows accounts for some numbers."""
    accounts = {hash_number(number, salt): f"account of {number}" for number in numbers}

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)["hashes"]
        return ok({"matches": {digest: accounts[digest] for digest in asked if digest in accounts}})

    return answer


def test_equal_numbers_are_one() -> None:
    """A number written twice is asked about once, and everybody who has it is told."""
    book = gather(
        [
            contact("Ann", "0151 11111111", "+49 151 11111111"),
            contact("Anna", "+4915111111111"),
            contact("Own", OWN),
            Fault(9, "odd"),
            contact("Ben", "no number"),
        ],
        region="DE",
        own_number=OWN,
    )

    assert (book.contacts, book.numbers, book.distinct) == (4, 5, 1)
    assert [entry.name for entry in book.entries["+4915111111111"].values()] == ["Ann", "Anna"]
    assert [fault.line for fault in book.faults] == [9, 1]
    assert "no number" in book.faults[1].reason


def test_pages_hold_max_hashes(client: Kith, script: Script) -> None:
    """Every distinct number is asked about once, in pages as large as the server takes."""
    numbers = [f"+491511111111{n}" for n in range(5)]
    script.on("GET /v1/discovery/parameters", ok(PARAMETERS))
    script.on("POST /v1/discovery/lookups", here(numbers[0], numbers[4], salt="salt"))
    steps: list[int] = []

    matches = match(client, book_of(*numbers), on_progress=steps.append)

    assert steps == [2, 4, 5]
    assert [(one.name, one.phone_number) for one in matches] == [
        ("N0", numbers[0]),
        ("N4", numbers[4]),
    ]
    assert matches[0].account_id == f"account of {numbers[0]}"
    pages = [body["hashes"] for body in script.bodies("POST /v1/discovery/lookups")]
    assert pages == [
        [hash_number(number, "salt") for number in numbers[start : start + 2]]
        for start in (0, 2, 4)
    ]


def test_a_new_epoch_in_mid_run_is_followed(client: Kith, script: Script) -> None:
    """When the parameters change they are fetched anew and the rest is hashed anew."""
    numbers = [f"+491511111111{n}" for n in range(4)]
    fresh = {**PARAMETERS, "epoch": "e2", "salt": "fresh", "max_hashes": 10}
    script.on("GET /v1/discovery/parameters", ok(PARAMETERS), ok(fresh))
    script.on(
        "POST /v1/discovery/lookups",
        here(*numbers, salt="salt"),
        problem("epoch-unknown", 409),
        here(*numbers, salt="fresh"),
    )

    matches = match(client, book_of(*numbers))

    assert [one.phone_number for one in matches] == numbers
    assert [body["epoch"] for body in script.bodies("POST /v1/discovery/lookups")] == [
        "e1",
        "e1",
        "e2",
    ]


def test_epochs_that_never_settle_are_given_up(client: Kith, script: Script) -> None:
    """A server that knows none of its own epochs ends the run with its problem."""
    script.on("GET /v1/discovery/parameters", ok(PARAMETERS))
    script.on("POST /v1/discovery/lookups", problem("epoch-unknown", 409))

    with pytest.raises(EpochUnknown):
        match(client, book_of("+4915111111111"))

    assert len(script.requests) == 6


def test_answers_to_other_hashes_are_ignored(client: Kith, script: Script) -> None:
    """A hash that was not asked about matches nobody."""
    script.on("GET /v1/discovery/parameters", ok(PARAMETERS))
    script.on("POST /v1/discovery/lookups", ok({"matches": {"stray": "a1"}}))

    assert match(client, book_of("+4915111111111")) == []


def test_an_empty_book_asks_nothing(client: Kith, script: Script) -> None:
    """Nobody to look for, no request."""
    assert match(client, Book()) == []
    assert script.requests == []
