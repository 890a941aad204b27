"""Group commit: whatever waits together, everybody answered, and nobody harmed by a neighbour."""

import threading
from uuid import uuid4

import pytest
from sqlalchemy.exc import OperationalError

from core.metrics import Metrics
from core.problems import Problem
from messaging.mailbox.group_commit import GroupCommit
from messaging.mailbox.jobs import AcknowledgeJob
from messaging.metrics import MessagingMetrics

#: Far longer than any test may take.
LONG = 20


class Gate:
    """A commit that waits until it is let through, and fails for some jobs."""

    def __init__(self, fails=None, **limits):
        self.batches, self.told = [], []
        self.entered, self.open = threading.Semaphore(0), threading.Event()
        self.fails = fails
        self.commits = GroupCommit(self.commit, MessagingMetrics(Metrics()), **limits)
        self.answered = threading.Semaphore(0)

    def commit(self, jobs):
        """Store a batch of numbers."""
        self.entered.release()
        assert self.open.wait(LONG)
        numbers = [job.through for job in jobs]
        if self.fails is not None:
            self.fails(numbers)
        self.batches.append(numbers)

    def put(self, number):
        """Hand in a number."""

        def done(answer):
            self.told.append((number, answer.code if isinstance(answer, Problem) else answer))
            self.answered.release()

        self.commits.submit(AcknowledgeJob(uuid4(), number, done))

    def wait(self, answers):
        """Wait for so many answers."""
        for _ in range(answers):
            assert self.answered.acquire(timeout=LONG)


def test_what_waits_goes_together():
    """The first goes alone at once; what comes meanwhile is one transaction, in its order."""
    gate = Gate()
    gate.put(0)
    assert gate.entered.acquire(timeout=LONG)
    for number in range(1, 10):
        gate.put(number)
    gate.open.set()
    gate.wait(10)
    assert gate.batches == [[0], list(range(1, 10))]
    assert gate.told == [(number, None) for number in range(10)]


def test_it_goes_on_after_it_was_idle():
    """The thread ends when nothing waits, and the next job starts another."""
    gate = Gate()
    gate.open.set()
    for number in range(20):
        gate.put(number)
        gate.wait(1)
    assert [number for batch in gate.batches for number in batch] == list(range(20))


def test_a_batch_is_bounded():
    """A long queue takes several transactions."""
    gate = Gate(max_batch_weight=4)
    gate.put(0)
    assert gate.entered.acquire(timeout=LONG)
    for number in range(1, 10):
        gate.put(number)
    gate.open.set()
    gate.wait(10)
    assert [len(batch) for batch in gate.batches] == [1, 4, 4, 1]


def test_too_long_a_queue_refuses_at_once():
    """Who comes after the bound is told when to come again; who waits is stored."""
    gate = Gate(max_queued_weight=3)
    gate.put(0)
    assert gate.entered.acquire(timeout=LONG)
    for number in range(1, 6):
        gate.put(number)
    gate.wait(2)
    assert gate.told == [(4, "service-unavailable"), (5, "service-unavailable")]
    gate.open.set()
    gate.wait(4)
    gate.put(6)
    gate.wait(1)
    assert gate.batches == [[0], [1, 2, 3], [6]]


def away(_):
    """Fail as a database that is not there."""
    raise OperationalError("COMMIT", {}, Exception())


def test_a_database_that_is_away_refuses_the_batch():
    """Everybody is told to come again, and what comes then is stored."""
    gate = Gate(fails=away)
    gate.open.set()
    gate.put(1)
    gate.wait(1)
    gate.fails = None
    gate.put(2)
    gate.wait(1)
    assert gate.told == [(1, "service-unavailable"), (2, None)]
    assert gate.batches == [[2]]


@pytest.mark.parametrize("poison", [1, 4, 7])
def test_a_job_that_cannot_be_stored_ends_alone(poison):
    """Its neighbours are stored, in their order."""

    def fail(numbers):
        if poison in numbers:
            raise RuntimeError

    gate = Gate(fails=fail)
    gate.put(0)
    assert gate.entered.acquire(timeout=LONG)
    for number in range(1, 8):
        gate.put(number)
    gate.open.set()
    gate.wait(8)
    assert dict(gate.told)[poison] == "internal-error"
    stored = [number for batch in gate.batches for number in batch]
    assert stored == [number for number in range(8) if number != poison]


def test_who_cannot_hear_its_answer_harms_nobody():
    """The others hear theirs, and nothing is stored again."""
    gate = Gate()

    def deaf(answer):
        raise RuntimeError

    gate.put(0)
    assert gate.entered.acquire(timeout=LONG)
    gate.commits.submit(AcknowledgeJob(uuid4(), 1, deaf))
    gate.put(2)
    gate.open.set()
    gate.wait(2)
    assert gate.batches == [[0], [1, 2]]
