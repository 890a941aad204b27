"""Whatever happens between and within runs of a sync, nobody is missed and nothing is paid twice."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kith import Kith, KithUnreachable
from kith.sync import Book, State, gather, synchronise
from tests.unit.kith.canned import Script
from tests.unit.kith.lookup_server import PEOPLE, LookupServer, contact

NUMBERS = PEOPLE[:24]
HERE = set(PEOPLE[:24:2])

books = st.lists(st.sampled_from(NUMBERS), min_size=1, unique=True)
#: Of one run: the book, what the budget holds, how many answers get lost, the size of pages.
runs = st.tuples(books, st.integers(0, 12), st.integers(0, 4), st.integers(3, 9))


@settings(max_examples=50)
@given(st.lists(runs, min_size=1, max_size=5), st.integers(0, 5))
def test_runs_pay_once_and_miss_nobody(steps: list[tuple[list[str], int, int, int]], change: int):
    """In one epoch no number costs more than one, and a run that ends well has asked about all."""
    script = Script()
    server = LookupServer(script, HERE, left=0)
    largest = 0
    asked: set[str] = set()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.db"
        for step, (numbers, left, lost, page) in enumerate(steps):
            if step == change:
                server.epoch += 1
                server.charges.clear()
                asked.clear()
                largest = 0
            # Smaller pages than before are paid for again; that is another test's.
            largest = server.max_hashes = max(largest, page)
            server.left, server.lose = left, lost
            asked.update(numbers)
            _run(script, path, numbers)
            assert sum(server.charges) <= len(asked)
        server.left, server.lose = len(NUMBERS), 0
        complete, found = _run(script, path, NUMBERS)
    assert complete
    assert found == HERE
    assert sum(server.charges) == len(NUMBERS)


def _run(script: Script, path: Path, numbers: list[str]) -> tuple[bool, set[str]]:
    client = Kith("http://kith.test", "kithsvc_token", transport=script, sleep=script.sleep)
    with client, Book() as book, State(path) as state:
        gather([contact("N", number) for number in numbers], book, region=None)
        try:
            outcome = synchronise(client, book, state)
        except KithUnreachable:
            return False, set()
        found = {match.phone_number for match in book.matches()}
    assert len(found) >= len(HERE & set(numbers)) - outcome.waiting
    assert found <= HERE & set(numbers)
    return outcome.complete, found
