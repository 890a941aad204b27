"""An address book is asked about page by page, and nothing of it is paid for twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kith import NO_RETRIES, Kith, Lookup
from kith.contacts import Fault
from kith.problems import EpochUnknown
from kith.sync import Book, Outcome, State, gather, synchronise
from tests.unit.kith.canned import PARAMETERS, Script, ok, problem
from tests.unit.kith.conftest import Sync
from tests.unit.kith.lookup_server import LOOKUPS, PEOPLE, LookupServer, contact

OWN = "+4915100000000"


@pytest.fixture
def book() -> Iterator[Book]:
    """Return an empty book."""
    with Book() as book:
        yield book


def test_equal_numbers_are_one(book: Book, client: Kith, script: Script, tmp_path: Path) -> None:
    """A number written twice is asked about once, and everybody who has it is shown once."""
    ann = "+4915111111111"
    gather(
        [
            contact("Ann", "0151 11111111", "+49 151 11111111"),
            contact("Anna", ann),
            contact("Own", OWN),
            Fault(9, "odd"),
            contact("Ben", "no number"),
        ],
        book,
        region="DE",
        own_number=OWN,
    )
    server = LookupServer(script, [ann, OWN], left=10)
    with State(tmp_path / "state.db") as state:
        synchronise(client, book, state)

    assert (book.contacts, book.numbers, book.unreadable) == (4, 5, 2)
    assert server.charges == [1]
    assert [(match.name, match.written) for match in book.matches()] == [
        ("Ann", "0151 11111111"),
        ("Anna", ann),
    ]
    faults = list(book.faults())
    assert [fault.line for fault in faults] == [9, 1]
    assert "no number" in faults[1].reason


def test_pages_hold_max_hashes(sync: Sync, script: Script) -> None:
    """Every distinct number is asked about once, in pages as large as the server takes."""
    server = LookupServer(script, [PEOPLE[0], PEOPLE[8]], left=100)

    outcome, found = sync(PEOPLE[:9])

    assert server.asked == [[0, 4], [0, 4], [0, 1]]
    assert found == [PEOPLE[0], PEOPLE[8]]
    assert outcome.complete
    assert outcome.budget is not None
    assert outcome.budget.left == 91


def test_the_next_run_pays_for_what_is_new(sync: Sync, script: Script) -> None:
    """Known pages are asked about for nothing, and a new contact fills up the last one."""
    server = LookupServer(script, left=100)
    sync(PEOPLE[:9])
    server.here = {PEOPLE[0], PEOPLE[9]}
    script.requests.clear()
    server.charges.clear()

    _, found = sync(PEOPLE[:10])

    assert server.asked == [[4, 0], [4, 0], [1, 1]]
    assert server.charges == [0, 0, 1]
    assert found == [PEOPLE[0], PEOPLE[9]]


def test_who_left_the_book_stays_paid_for_and_is_not_shown(sync: Sync, script: Script) -> None:
    """A page keeps its set, for its token proves all of it or nothing; a page without anybody is
    not asked about.
    """
    server = LookupServer(script, PEOPLE, max_hashes=4, left=100)
    sync(PEOPLE[:4])
    sync([*PEOPLE[:4], *PEOPLE[4:6]])
    script.requests.clear()
    server.charges.clear()

    assert sync(PEOPLE[5:6])[1] == [PEOPLE[5]]
    assert server.asked == [[2, 0]]
    assert sync(PEOPLE[:6])[1] == PEOPLE[:6]
    assert sum(server.charges) == 0


def test_a_new_epoch_in_mid_run_is_followed(
    client: Kith, script: Script, book: Book, tmp_path: Path
) -> None:
    """When the parameters change everything is hashed and asked anew; old pages are forgotten."""
    server = LookupServer(script, PEOPLE[:6], left=100)
    gather([contact("N", number) for number in PEOPLE[:6]], book, region=None)
    steps: list[tuple[int, int]] = []

    def change_in_the_middle(asked: int, total: int) -> None:
        steps.append((asked, total))
        if len(steps) == 2:
            server.epoch = 2

    with State(tmp_path / "state.db") as state:
        synchronise(client, book, state, on_progress=change_in_the_middle)

    assert steps == [(0, 6), (4, 6), (0, 6), (4, 6), (6, 6)]
    assert [match.phone_number for match in book.matches()] == PEOPLE[:6]
    epochs = [body["epoch"] for body in script.bodies(LOOKUPS)]
    assert epochs == ["e1", "e1", "e2", "e2"]


def test_epochs_that_never_settle_are_given_up(sync: Sync, script: Script) -> None:
    """A server that knows none of its own epochs ends the run with its problem."""
    script.on("GET /v1/discovery/parameters", ok(PARAMETERS))
    script.on(LOOKUPS, problem("epoch-unknown", 409))

    with pytest.raises(EpochUnknown):
        sync(PEOPLE[:1])

    assert len(script.requests) == 6


def test_a_server_that_takes_smaller_pages_now(sync: Sync, script: Script) -> None:
    """Pages that are too large are forgotten and asked about anew."""
    server = LookupServer(script, PEOPLE, max_hashes=8, left=100)
    sync(PEOPLE[:9])
    server.max_hashes = 4

    assert sync(PEOPLE[:9])[1] == PEOPLE[:9]


def test_answers_to_other_hashes_are_ignored(sync: Sync, script: Script) -> None:
    """A hash that was not asked about matches nobody."""
    script.on("GET /v1/discovery/parameters", ok(PARAMETERS))
    script.on(LOOKUPS, ok({"matches": {"stray": "a1"}}))

    assert sync(PEOPLE[:1]) == (Outcome(), [])


def test_an_empty_book_asks_nothing(sync: Sync, script: Script) -> None:
    """Nobody to look for, no request."""
    assert sync([]) == (Outcome(), [])
    assert script.requests == []


def test_a_lookup_names_what_is_known(script: Script) -> None:
    """Known hashes go with the token that proves them, and never without."""
    client = Kith("http://kith.test", "kithsvc_token", transport=script, retries=NO_RETRIES)
    script.on(LOOKUPS, ok({"matches": {"h1": "a1"}, "sync_token": "t2", "more": 1}))

    found = client.look_up("e1", ["h2"], known=["h1"], sync_token="t1")

    assert found == Lookup({"h1": "a1"}, "t2")
    assert script.sent(LOOKUPS)[0].headers["Authorization"] == "Bearer kithsvc_token"
    assert script.bodies(LOOKUPS) == [
        {"epoch": "e1", "hashes": ["h2"], "known": ["h1"], "sync_token": "t1"}
    ]
    with pytest.raises(ValueError, match="token"):
        client.look_up("e1", [], known=["h1"])
