"""An address book is asked about page by page, and nothing of it is paid for twice."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kith import NO_RETRIES, Kith, KithUnreachable, Lookup
from kith.contacts import Contact, Fault, WrittenNumber
from kith.problems import EpochUnknown
from kith.sync import Book, Outcome, State, gather, synchronise
from tests.unit.kith.canned import PARAMETERS, Script, ok, problem
from tests.unit.kith.lookup_server import LOOKUPS, REFILL, LookupServer

OWN = "+4915100000000"
PEOPLE = [f"+4915111111{n:03}" for n in range(100)]

Sync = Callable[..., tuple[Outcome, list[str]]]


def contact(name: str, *numbers: str) -> Contact:
    """Return a contact with its numbers on lines of their own."""
    written = tuple(WrittenNumber(text, line) for line, text in enumerate(numbers, start=1))
    return Contact(name, written, 1)


@pytest.fixture
def book() -> Iterator[Book]:
    """Return an empty book."""
    with Book() as book:
        yield book


@pytest.fixture
def sync(client: Kith, tmp_path: Path) -> Sync:
    """Return a run over a book of some numbers, with the state of the runs before it."""

    def run(numbers: list[str]) -> tuple[Outcome, list[str]]:
        with Book() as book, State(tmp_path / "state.db") as state:
            gather([contact("N", number) for number in numbers], book, region=None)
            outcome = synchronise(client, book, state)
            return outcome, [match.phone_number for match in book.matches()]

    return run


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


@pytest.mark.parametrize("max_hashes", [4, 100])
def test_a_budget_is_used_to_its_end(sync: Sync, script: Script, max_hashes: int) -> None:
    """What the budget holds is asked, the rest is left for the next run, and nothing is paid
    twice.
    """
    server = LookupServer(script, PEOPLE, max_hashes=max_hashes, left=7)

    outcome, found = sync(PEOPLE[:20])

    assert (outcome.waiting, outcome.complete, len(found)) == (13, False, 7)
    assert outcome.retry_after == 7200
    assert outcome.budget is not None
    assert outcome.budget.refill_per_day == REFILL
    assert server.left == 0
    assert sync(PEOPLE[:20])[0].waiting == 13
    server.left = 5
    outcome, found = sync(PEOPLE[:20])
    assert (outcome.waiting, len(found)) == (8, 12)
    server.left = 100
    outcome, found = sync(PEOPLE[:20])
    assert (outcome.complete, found) == (True, PEOPLE[:20])
    assert sum(server.charges) == 20


def test_small_budgets_fill_one_page(sync: Sync, script: Script) -> None:
    """A page that a small budget has begun is filled up by later ones."""
    server = LookupServer(script, PEOPLE, max_hashes=50, left=10)
    sync(PEOPLE)
    for _ in range(4):
        server.left = 10
        sync(PEOPLE)
    script.requests.clear()
    server.left = 0

    sync(PEOPLE)

    assert server.asked[:1] == [[50, 0]]
    assert len(server.asked) == 2  # the other found that nothing is left
    assert sum(server.charges) == 50


def test_a_lost_answer_costs_nothing(sync: Sync, client: Kith, script: Script) -> None:
    """What was charged and not answered is asked again exactly so, before anything else."""
    server = LookupServer(script, PEOPLE, left=100)
    sync(PEOPLE[:5])
    server.lose = 3  # as often as the client tries
    with pytest.raises(KithUnreachable):
        sync(PEOPLE[:12])
    lost = script.sent(LOOKUPS)[-1].content
    script.requests.clear()

    outcome, found = sync(PEOPLE[:12])

    assert script.sent(LOOKUPS)[0].content == lost
    assert (outcome.complete, found) == (True, PEOPLE[:12])
    assert server.left == 88


def test_a_lost_answer_whose_contacts_are_gone(sync: Sync, script: Script) -> None:
    """A run that was cut off does no harm to a run over another book."""
    server = LookupServer(script, PEOPLE, left=100)
    server.lose = 3
    with pytest.raises(KithUnreachable):
        sync(PEOPLE[:4])

    assert sync(PEOPLE[50:53])[1] == PEOPLE[50:53]


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


def test_what_may_be_asked_anew_after_an_epoch_is_asked(
    client: Kith, script: Script, book: Book, tmp_path: Path
) -> None:
    """The server lets more pass than it says is left, so its refusal counts and not its number."""
    empty = {"left": 0, "capacity": 100, "refill_per_day": 50}
    script.on("GET /v1/discovery/parameters", ok({**PARAMETERS, "budget": empty}))
    script.on(LOOKUPS, ok({"matches": {}, "sync_token": "t", "budget": empty}))
    gather([contact("N", number) for number in PEOPLE[:6]], book, region=None)

    with State(tmp_path / "state.db") as state:
        assert synchronise(client, book, state).complete

    assert len(script.sent(LOOKUPS)) == 3


def test_epochs_that_never_settle_are_given_up(sync: Sync, script: Script) -> None:
    """A server that knows none of its own epochs ends the run with its problem."""
    script.on("GET /v1/discovery/parameters", ok(PARAMETERS))
    script.on(LOOKUPS, problem("epoch-unknown", 409))

    with pytest.raises(EpochUnknown):
        sync(PEOPLE[:1])

    assert len(script.requests) == 6


@pytest.mark.parametrize("left", [100, 3, 0])
def test_tokens_that_prove_nothing_any_more(sync: Sync, script: Script, left: int) -> None:
    """Pages of another account's or secret's tokens are paid for again, as far as the budget
    goes.
    """
    LookupServer(script, PEOPLE, left=100)
    sync(PEOPLE[:9])
    other = LookupServer(script, PEOPLE, left=left)
    other._token = lambda hashes: "other" + str(sorted(hashes))  # type: ignore[method-assign]

    outcome, found = sync(PEOPLE[:9])

    assert sum(other.charges) == len(found) == min(9, left)
    assert outcome.waiting == 9 - len(found)
    other.left = 9
    assert sync(PEOPLE[:9])[1] == PEOPLE[:9]
    assert sum(other.charges) == 9


def test_a_server_that_takes_smaller_pages_now(sync: Sync, script: Script) -> None:
    """Pages that are too large are forgotten and asked about anew."""
    server = LookupServer(script, PEOPLE, max_hashes=8, left=100)
    sync(PEOPLE[:9])
    server.max_hashes = 4

    assert sync(PEOPLE[:9])[1] == PEOPLE[:9]


def test_a_server_without_budget(sync: Sync, script: Script) -> None:
    """Such a server is told no known hashes and no token; one that gets a budget is paid."""
    server = LookupServer(script, PEOPLE, left=None)
    sync(PEOPLE[:9])
    script.requests.clear()

    outcome, found = sync(PEOPLE[:10])

    assert (outcome, found) == (Outcome(), PEOPLE[:10])
    assert server.asked == [[0, 4], [0, 4], [0, 2]]
    server.left = 6
    outcome, found = sync(PEOPLE[:10])
    assert (outcome.waiting, len(found), sum(server.charges)) == (4, 6, 6)


def test_a_server_that_refuses_whatever_it_says_is_left(sync: Sync, script: Script) -> None:
    """The run comes to an end."""
    LookupServer(script, left=100)
    script.on(LOOKUPS, problem("budget-exhausted", 429, left=50))

    assert sync(PEOPLE[:9])[0].waiting == 9


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
