"""Judging of batches: who is told what, what is counted for it, and who is in touch afterwards."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select

from core.rate_limit_statements import RateLimitCounter
from messaging.contacts.models import Contact
from messaging.contacts.sender_rules import SenderRules
from messaging.contacts.service import ContactService, ContactState
from messaging.limits import MessageLimits
from messaging.message_types import DeliveryDecision, SenderRecipient
from settings import Settings

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANNA, BEN, CLEO, DORA = (UUID(int=place) for place in range(1, 5))
LIMITS = {
    "messages_per_minute": 8,
    "messages_to_recipient_per_minute": 6,
    "messages_to_new_recipient_per_day": 3,
    "new_recipients_per_day": 2,
}


@pytest.fixture
def evaluate(database):
    """Evaluate a batch of (sender, recipient) in a transaction of its own."""
    rules = SenderRules(MessageLimits.from_settings(Settings(**LIMITS)))

    def evaluate(*pairs, seconds=0):
        with database.write() as connection:
            return rules.evaluate(
                connection,
                [SenderRecipient(*pair) for pair in pairs],
                NOON + timedelta(seconds=seconds),
            )

    return evaluate


@pytest.fixture
def stand(database):
    """Let an account stand to another one in some way."""

    def stand(account, peer, state):
        with database.write() as connection:
            connection.execute(
                insert(Contact).values(account_id=account, peer_id=peer, state=state, since=NOON)
            )

    return stand


@pytest.fixture
def contacts(database):
    """Read who stands to whom, and how."""

    def contacts():
        with database.read() as connection:
            rows = connection.execute(select(Contact.account_id, Contact.peer_id, Contact.state))
            return {(account, peer): ContactState(state) for account, peer, state in rows}

    return contacts


@pytest.fixture
def held(database):
    """Read how much each limit holds, over all subjects."""

    def held():
        with database.read() as connection:
            rows = connection.execute(select(RateLimitCounter.name, RateLimitCounter.used)).all()
        return sorted((name, used) for name, used in rows)

    return held


def outcomes(decisions):
    """Name each decision."""
    return [
        (decision.refusal.rate_limit.name if decision.refusal.rate_limit else decision.refusal.code)
        if decision.refusal
        else "dropped"
        if decision.dropped
        else "request"
        if decision.is_request
        else "delivered"
        for decision in decisions
    ]


def test_a_strangers_message_is_a_request_until_it_is_answered(evaluate, contacts):
    """Writing puts the writer in touch with the other one, so an answer makes it mutual."""
    assert outcomes(evaluate((ANNA, BEN))) == ["request"]
    assert contacts() == {(ANNA, BEN): ContactState.ACCEPTED}
    assert outcomes(evaluate((BEN, ANNA), (ANNA, BEN))) == ["delivered", "request"]
    assert outcomes(evaluate((ANNA, BEN))) == ["delivered"]
    assert contacts() == {(ANNA, BEN): ContactState.ACCEPTED, (BEN, ANNA): ContactState.ACCEPTED}


def test_a_batch_is_evaluated_in_its_order(evaluate):
    """Each message has its own decision, at its own place."""
    evaluate((BEN, ANNA))
    decisions = evaluate((ANNA, CLEO), (ANNA, BEN), (CLEO, BEN), (ANNA, CLEO))
    assert outcomes(decisions) == ["request", "delivered", "request", "request"]


def test_an_empty_batch_is_nothing(evaluate, held):
    """It counts nowhere."""
    assert (evaluate(), held()) == ([], [])


@pytest.mark.parametrize("state", [ContactState.BLOCKED, ContactState.BLOCKED_AFTER_ACCEPTED])
def test_what_a_blocked_account_writes_is_dropped(evaluate, stand, contacts, state):
    """It stands to the recipient as if it had been delivered."""
    stand(BEN, ANNA, state)
    assert outcomes(evaluate((ANNA, BEN))) == ["dropped"]
    assert contacts() == {(BEN, ANNA): state, (ANNA, BEN): ContactState.ACCEPTED}


@pytest.mark.parametrize("state", [ContactState.BLOCKED, ContactState.BLOCKED_AFTER_ACCEPTED])
def test_nobody_writes_to_whom_she_has_blocked(evaluate, stand, contacts, held, state):
    """The message is refused, counts nowhere, and lifts no block."""
    stand(ANNA, BEN, state)
    assert outcomes(evaluate(*[(ANNA, BEN)] * 20)) == ["recipient-blocked"] * 20
    assert contacts() == {(ANNA, BEN): state}
    assert held() == []


@pytest.mark.parametrize(
    ("before", "blocked", "as_before"),
    [
        (None, ContactState.BLOCKED, ["request"] * 3 + ["messages-to-new-recipient"] * 6),
        (
            ContactState.ACCEPTED,
            ContactState.BLOCKED_AFTER_ACCEPTED,
            ["delivered"] * 6 + ["messages-to-recipient"] * 3,
        ),
    ],
)
def test_limits_do_not_tell_that_one_is_blocked(evaluate, stand, held, before, blocked, as_before):
    """Blocked or not, the same messages pass, the same are refused, and the same is counted."""
    if before:
        stand(BEN, ANNA, before)
    stand(CLEO, DORA, blocked)
    free = evaluate(*[(ANNA, BEN)] * 9)
    counted = held()
    dropped = evaluate(*[(DORA, CLEO)] * 9)
    assert outcomes(free) == as_before
    passed = sum(decision.refusal is None for decision in free)
    assert outcomes(dropped) == ["dropped"] * passed + as_before[passed:]
    assert held() == sorted(counted * 2)


def test_a_stranger_gets_few_messages_until_she_answers(evaluate):
    """Her answer lifts that limit at once, without giving back what was used of the others."""
    assert outcomes(evaluate(*[(ANNA, BEN)] * 4)) == ["request"] * 3 + ["messages-to-new-recipient"]
    assert outcomes(evaluate((BEN, ANNA), (ANNA, BEN))) == [
        "delivered",
        "messages-to-new-recipient",
    ]
    assert outcomes(evaluate(*[(ANNA, BEN)] * 6)) == ["delivered"] * 5 + ["messages"]


def test_few_strangers_a_day(evaluate, contacts):
    """Whoever was refused is not in touch with the stranger, and the next day begins anew."""
    decisions = evaluate((ANNA, BEN), (ANNA, CLEO), (ANNA, DORA), (ANNA, BEN))
    assert outcomes(decisions) == ["request", "request", "new-recipients", "request"]
    assert (ANNA, DORA) not in contacts()
    assert outcomes(evaluate((ANNA, DORA), (ANNA, CLEO))) == ["new-recipients", "request"]
    assert outcomes(evaluate((ANNA, DORA), seconds=86_399)) == ["new-recipients"]
    assert outcomes(evaluate((ANNA, DORA), seconds=86_400)) == ["request"]


def test_accepting_a_stranger_by_hand_does_not_make_her_less_of_one(evaluate, stand):
    """Only what the recipient says counts, or every limit for strangers could be set aside."""
    for stranger in (BEN, CLEO, DORA):
        stand(ANNA, stranger, ContactState.ACCEPTED)
    decisions = evaluate((ANNA, BEN), (ANNA, CLEO), (ANNA, DORA))
    assert outcomes(decisions) == ["request", "request", "new-recipients"]


def test_an_answer_to_a_stranger_counts_for_no_stranger(evaluate, held):
    """Whoever was written to by many may answer all of them."""
    strangers = [uuid4() for _ in range(5)]
    for stranger in strangers:
        evaluate((stranger, BEN))
    assert outcomes(evaluate(*[(BEN, stranger) for stranger in strangers])) == ["delivered"] * 5


def test_the_limit_of_one_recipient_leaves_room_for_others(evaluate):
    """Between people who are in touch, so many a minute, and so many to all together."""
    for friend in (BEN, CLEO):
        evaluate((friend, ANNA))
    decisions = evaluate(*[(ANNA, BEN)] * 7, *[(ANNA, CLEO)] * 3)
    assert outcomes(decisions) == (
        ["delivered"] * 6 + ["messages-to-recipient"] + ["delivered"] * 2 + ["messages"]
    )
    assert outcomes(evaluate((ANNA, BEN), seconds=59)) == ["messages"]
    assert outcomes(evaluate((ANNA, BEN), seconds=60)) == ["delivered"]


def test_a_refused_message_takes_nothing(evaluate, held):
    """However many are refused, the limits hold what passed."""
    evaluate(*[(ANNA, BEN)] * 50, *[(ANNA, CLEO)] * 50, *[(ANNA, DORA)] * 50)
    assert held() == [
        ("messages", 6),
        ("messages-to-new-recipient", 0),
        ("messages-to-new-recipient", 3),
        ("messages-to-new-recipient", 3),
        ("new-recipients", 2),
    ]


def test_a_refusal_says_when_to_come_back(evaluate):
    """The end of the window, in seconds, and which limit it was."""
    evaluate(*[(ANNA, BEN)] * 3)
    (decision,) = evaluate((ANNA, BEN), seconds=1000.5)
    assert decision.refusal.status == 429
    assert decision.refusal.retry_after == 86_400 - 1000
    assert decision.refusal.rate_limit.headers() == {
        "RateLimit-Policy": '"messages-to-new-recipient";q=3;w=86400',
        "RateLimit": '"messages-to-new-recipient";r=0;t=85400',
    }


def test_directions_are_limited_apart(evaluate):
    """What one writes to the other takes nothing of what the other writes back."""
    evaluate((ANNA, BEN), (BEN, ANNA))
    assert outcomes(evaluate(*[(ANNA, BEN)] * 6, *[(BEN, ANNA)] * 6)) == ["delivered"] * 12


def test_signals_reach_whoever_is_in_touch(database, evaluate, stand):
    """Not strangers, not blockers, not whom one has blocked; asking changes nothing."""
    stand(BEN, ANNA, ContactState.ACCEPTED)
    stand(CLEO, ANNA, ContactState.BLOCKED_AFTER_ACCEPTED)
    stand(ANNA, DORA, ContactState.BLOCKED)
    stand(DORA, ANNA, ContactState.ACCEPTED)
    pairs = [SenderRecipient(ANNA, peer) for peer in (BEN, CLEO, DORA, uuid4(), BEN)]
    with database.read() as connection:
        passed = ContactService.may_signal(connection, pairs)
    assert passed == [True, False, False, False, True]


def test_a_group_is_limited_as_one_recipient(evaluate, contacts):
    """Members need not be in touch; their messages count for the sender, and for the group."""
    decisions = evaluate(*[(ANNA, CLEO, True)] * 7)
    assert decisions[:6] == [DeliveryDecision()] * 6
    assert decisions[6].refusal.rate_limit.name == "messages-to-recipient"
    decisions = evaluate(*[(ANNA, DORA, True)] * 3)
    assert decisions[:2] == [DeliveryDecision()] * 2
    assert decisions[2].refusal.rate_limit.name == "messages"
    assert contacts() == {}
