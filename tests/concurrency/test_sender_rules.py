"""Limits of messages and contacts under parallel batches, on real connections of both databases."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from core.rate_limit_statements import RateLimitCounter
from messaging.contacts.models import Contact
from messaging.contacts.problems import TooManyContacts
from messaging.contacts.sender_rules import SenderRules
from messaging.limits import MessageLimits
from messaging.message_types import SenderRecipient
from settings import Settings
from tokens.devices import Caller

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANNA, BEN = UUID(int=1), UUID(int=2)
BATCHES, PARALLEL = 60, 12


@pytest.fixture
def outcomes(database):
    """Evaluate batches at once, each in a transaction of its own; count how messages ended."""

    def outcomes(batches, **settings):
        rules = SenderRules(MessageLimits.from_settings(Settings(**settings)))
        barrier = Barrier(PARALLEL)

        def run(mine):
            barrier.wait()
            ended = []
            for batch in mine:
                with database.write() as connection:
                    ended += rules.evaluate(connection, batch, NOON)
            return ended

        with ThreadPoolExecutor(PARALLEL) as threads:
            shares = [batches[start::PARALLEL] for start in range(PARALLEL)]
            decisions = [one for share in threads.map(run, shares) for one in share]
        return Counter(
            "passed" if one.refusal is None else one.refusal.rate_limit.name for one in decisions
        )

    return outcomes


@pytest.fixture
def used(database):
    """Read what a limit holds over all subjects."""

    def used(name):
        with database.read() as connection:
            query = select(func.sum(RateLimitCounter.used)).where(RateLimitCounter.name == name)
            return connection.scalar(query)

    return used


def test_a_stranger_gets_exactly_as_many_messages_as_are_allowed(outcomes, used):
    """60 batches with two messages each race for 7."""
    ended = outcomes(
        [[SenderRecipient(ANNA, BEN)] * 2] * BATCHES, messages_to_new_recipient_per_day=7
    )
    assert ended == {"passed": 7, "messages-to-new-recipient": 2 * BATCHES - 7}
    assert (used("messages"), used("messages-to-new-recipient"), used("new-recipients")) == (
        7,
        7,
        1,
    )


def test_a_sender_sends_exactly_as_many_as_are_allowed(outcomes, used):
    """To whomever she writes."""
    batches = [[SenderRecipient(ANNA, BEN), SenderRecipient(ANNA, uuid4())] for _ in range(BATCHES)]
    ended = outcomes(batches, messages_per_minute=5)
    assert ended == {"passed": 5, "messages": 2 * BATCHES - 5}
    assert used("messages") == 5


def test_exactly_as_many_strangers_as_are_allowed(outcomes, used, database):
    """And only those are in touch afterwards."""
    batches = [[SenderRecipient(ANNA, uuid4())] for _ in range(BATCHES)]
    ended = outcomes(batches, new_recipients_per_day=3)
    assert ended == {"passed": 3, "new-recipients": BATCHES - 3}
    assert used("new-recipients") == 3
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(Contact)) == 3


def test_batches_over_the_same_people_in_any_order_do_not_block_each_other(outcomes):
    """Everybody writes to everybody, forwards in one batch and backwards in another."""
    people = [UUID(int=place) for place in range(1, 7)]
    everybody = [SenderRecipient(one, other) for one in people for other in people if one != other]
    batches = [everybody, everybody[::-1]] * 12
    assert outcomes(batches, messages_to_new_recipient_per_day=100) == {
        "passed": 24 * len(everybody)
    }


def test_exactly_as_many_contacts_as_are_allowed(app, monkeypatch):
    """Parallel requests of one account are counted one by one."""
    kith = app.extensions["kith"]
    monkeypatch.setattr(kith.messaging.contacts, "max_contacts", 3)
    with kith.runtime.database.write() as connection:
        mine, *peers = [
            kith.tokens.accounts.get_or_create(connection, f"+49151123456{place:02}")
            for place in range(1 + PARALLEL)
        ]
    caller = Caller(mine, uuid4(), b"")
    barrier = Barrier(PARALLEL)

    def block(peer):
        barrier.wait()
        try:
            kith.messaging.contacts.set_state(caller, peer, "blocked")
        except TooManyContacts:
            return "refused"
        return "blocked"

    with ThreadPoolExecutor(PARALLEL) as threads:
        ended = Counter(threads.map(block, peers))
    assert ended == {"blocked": 3, "refused": PARALLEL - 3}
    contacts, _ = kith.messaging.contacts.page(caller, None, None, 100)
    assert len(contacts) == 3
