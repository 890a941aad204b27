"""A budget is used to its end, and no number is paid for twice."""

import pytest

from kith import KithUnreachable
from kith.sync import Outcome
from tests.unit.kith.canned import Script, problem
from tests.unit.kith.conftest import Sync
from tests.unit.kith.lookup_server import CAPACITY, LOOKUPS, PEOPLE, REFILL, LookupServer


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


def test_a_lost_answer_costs_nothing(sync: Sync, script: Script) -> None:
    """What was charged and not answered is asked again exactly so, before anything else."""
    server = LookupServer(script, PEOPLE, left=100)
    sync(PEOPLE[:5])
    server.lose_sessions = 3  # as often as the client tries
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
    server.lose_sessions = 3
    with pytest.raises(KithUnreachable):
        sync(PEOPLE[:4])

    assert sync(PEOPLE[50:53])[1] == PEOPLE[50:53]


def test_what_is_free_after_a_change_of_epochs_is_asked(sync: Sync, script: Script) -> None:
    """The server lets as much pass as was paid for before, beside what it says is left."""
    server = LookupServer(script, PEOPLE, max_hashes=4, left=9)
    sync(PEOPLE[:9])
    server.epoch, server.free, server.left = 2, 9, 1

    outcome, found = sync(PEOPLE[:12])

    assert (outcome.waiting, len(found)) == (2, 10)
    assert (server.free, server.left) == (0, 0)


def test_pages_above_the_whole_budget(sync: Sync, script: Script) -> None:
    """A page that no waiting would make small enough is asked in parts."""
    server = LookupServer(script, PEOPLE, max_hashes=100, left=CAPACITY)

    outcome, found = sync(PEOPLE)

    assert (outcome.waiting, len(found), outcome.retry_after) == (50, 50, None)
    server.left = CAPACITY
    assert sync(PEOPLE)[1] == PEOPLE
    assert sum(server.charges) == 100


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
