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
    "messages_to_one_per_minute": 6,
    "messages_to_new_recipient_per_day": 3,
    "new_recipients_per_day": 2,
}


@pytest.fixture
def judge(database):
    """Judge a batch of (sender, recipient) in a transaction of its own."""
    judging = SenderRules(MessageLimits.from_settings(Settings(**LIMITS)))

    def judge(*attempts, seconds=0):
        with database.write() as connection:
            return judging.judge(
                connection,
                [SenderRecipient(*attempt) for attempt in attempts],
                NOON + timedelta(seconds=seconds),
            )

    return judge


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


def outcomes(verdicts):
    """Name each verdict."""
    return [
        (verdict.refusal.rate_limit.name if verdict.refusal.rate_limit else verdict.refusal.code)
        if verdict.refusal
        else "dropped"
        if verdict.dropped
        else "request"
        if verdict.is_request
        else "delivered"
        for verdict in verdicts
    ]


def test_a_strangers_message_is_a_request_until_it_is_answered(judge, contacts):
    """Writing puts the writer in touch with the other one, so an answer makes it mutual."""
    assert outcomes(judge((ANNA, BEN))) == ["request"]
    assert contacts() == {(ANNA, BEN): ContactState.ACCEPTED}
    assert outcomes(judge((BEN, ANNA), (ANNA, BEN))) == ["delivered", "request"]
    assert outcomes(judge((ANNA, BEN))) == ["delivered"]
    assert contacts() == {(ANNA, BEN): ContactState.ACCEPTED, (BEN, ANNA): ContactState.ACCEPTED}


def test_a_batch_is_judged_in_its_order(judge):
    """Each message has its own verdict, at its own place."""
    judge((BEN, ANNA))
    verdicts = judge((ANNA, CLEO), (ANNA, BEN), (CLEO, BEN), (ANNA, CLEO))
    assert outcomes(verdicts) == ["request", "delivered", "request", "request"]


def test_an_empty_batch_is_nothing(judge, held):
    """It counts nowhere."""
    assert (judge(), held()) == ([], [])


@pytest.mark.parametrize("state", [ContactState.BLOCKED, ContactState.BLOCKED_AFTER_ACCEPTED])
def test_what_a_blocked_account_writes_is_dropped(judge, stand, contacts, state):
    """It stands to the recipient as if it had been delivered."""
    stand(BEN, ANNA, state)
    assert outcomes(judge((ANNA, BEN))) == ["dropped"]
    assert contacts() == {(BEN, ANNA): state, (ANNA, BEN): ContactState.ACCEPTED}


@pytest.mark.parametrize("state", [ContactState.BLOCKED, ContactState.BLOCKED_AFTER_ACCEPTED])
def test_nobody_writes_to_whom_she_has_blocked(judge, stand, contacts, held, state):
    """The message is refused, counts nowhere, and lifts no block."""
    stand(ANNA, BEN, state)
    assert outcomes(judge(*[(ANNA, BEN)] * 20)) == ["recipient-blocked"] * 20
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
def test_limits_do_not_tell_that_one_is_blocked(judge, stand, held, before, blocked, as_before):
    """Blocked or not, the same messages pass, the same are refused, and the same is counted."""
    if before:
        stand(BEN, ANNA, before)
    stand(CLEO, DORA, blocked)
    free = judge(*[(ANNA, BEN)] * 9)
    counted = held()
    dropped = judge(*[(DORA, CLEO)] * 9)
    assert outcomes(free) == as_before
    passed = sum(verdict.refusal is None for verdict in free)
    assert outcomes(dropped) == ["dropped"] * passed + as_before[passed:]
    assert held() == sorted(counted * 2)


def test_a_stranger_gets_few_messages_until_she_answers(judge):
    """Her answer lifts that limit at once, without giving back what was used of the others."""
    assert outcomes(judge(*[(ANNA, BEN)] * 4)) == ["request"] * 3 + ["messages-to-new-recipient"]
    assert outcomes(judge((BEN, ANNA), (ANNA, BEN))) == ["delivered", "messages-to-new-recipient"]
    assert outcomes(judge(*[(ANNA, BEN)] * 6)) == ["delivered"] * 5 + ["messages"]


def test_few_strangers_a_day(judge, contacts):
    """Whoever was refused is not in touch with the stranger, and the next day begins anew."""
    verdicts = judge((ANNA, BEN), (ANNA, CLEO), (ANNA, DORA), (ANNA, BEN))
    assert outcomes(verdicts) == ["request", "request", "new-recipients", "request"]
    assert (ANNA, DORA) not in contacts()
    assert outcomes(judge((ANNA, DORA), (ANNA, CLEO))) == ["new-recipients", "request"]
    assert outcomes(judge((ANNA, DORA), seconds=86_399)) == ["new-recipients"]
    assert outcomes(judge((ANNA, DORA), seconds=86_400)) == ["request"]


def test_accepting_a_stranger_by_hand_does_not_make_her_less_of_one(judge, stand):
    """Only what the recipient says counts, or every limit for strangers could be set aside."""
    for stranger in (BEN, CLEO, DORA):
        stand(ANNA, stranger, ContactState.ACCEPTED)
    verdicts = judge((ANNA, BEN), (ANNA, CLEO), (ANNA, DORA))
    assert outcomes(verdicts) == ["request", "request", "new-recipients"]


def test_an_answer_to_a_stranger_counts_for_no_stranger(judge, held):
    """Whoever was written to by many may answer all of them."""
    strangers = [uuid4() for _ in range(5)]
    for stranger in strangers:
        judge((stranger, BEN))
    assert outcomes(judge(*[(BEN, stranger) for stranger in strangers])) == ["delivered"] * 5


def test_the_limit_of_one_recipient_leaves_room_for_others(judge):
    """Between people who are in touch, so many a minute, and so many to all together."""
    for friend in (BEN, CLEO):
        judge((friend, ANNA))
    verdicts = judge(*[(ANNA, BEN)] * 7, *[(ANNA, CLEO)] * 3)
    assert outcomes(verdicts) == (
        ["delivered"] * 6 + ["messages-to-recipient"] + ["delivered"] * 2 + ["messages"]
    )
    assert outcomes(judge((ANNA, BEN), seconds=59)) == ["messages"]
    assert outcomes(judge((ANNA, BEN), seconds=60)) == ["delivered"]


def test_a_refused_message_takes_nothing(judge, held):
    """However many are refused, the limits hold what passed."""
    judge(*[(ANNA, BEN)] * 50, *[(ANNA, CLEO)] * 50, *[(ANNA, DORA)] * 50)
    assert held() == [
        ("messages", 6),
        ("messages-to-new-recipient", 0),
        ("messages-to-new-recipient", 3),
        ("messages-to-new-recipient", 3),
        ("new-recipients", 2),
    ]


def test_a_refusal_says_when_to_come_back(judge):
    """The end of the window, in seconds, and which limit it was."""
    judge(*[(ANNA, BEN)] * 3)
    (verdict,) = judge((ANNA, BEN), seconds=1000.5)
    assert verdict.refusal.status == 429
    assert verdict.refusal.retry_after == 86_400 - 1000
    assert verdict.refusal.rate_limit.headers() == {
        "RateLimit-Policy": '"messages-to-new-recipient";q=3;w=86400',
        "RateLimit": '"messages-to-new-recipient";r=0;t=85400',
    }


def test_directions_are_limited_apart(judge):
    """What one writes to the other takes nothing of what the other writes back."""
    judge((ANNA, BEN), (BEN, ANNA))
    assert outcomes(judge(*[(ANNA, BEN)] * 6, *[(BEN, ANNA)] * 6)) == ["delivered"] * 12


def test_signals_reach_whoever_is_in_touch(database, judge, stand):
    """Not strangers, not blockers, not whom one has blocked; asking changes nothing."""
    stand(BEN, ANNA, ContactState.ACCEPTED)
    stand(CLEO, ANNA, ContactState.BLOCKED_AFTER_ACCEPTED)
    stand(ANNA, DORA, ContactState.BLOCKED)
    stand(DORA, ANNA, ContactState.ACCEPTED)
    attempts = [SenderRecipient(ANNA, peer) for peer in (BEN, CLEO, DORA, uuid4(), BEN)]
    with database.read() as connection:
        passed = ContactService.may_signal(connection, attempts)
    assert passed == [True, False, False, False, True]


def test_a_group_is_limited_as_one_recipient(judge, contacts):
    """Members need not be in touch; their messages count for the sender, and for the group."""
    verdicts = judge(*[(ANNA, CLEO, True)] * 7)
    assert verdicts[:6] == [DeliveryDecision()] * 6
    assert verdicts[6].refusal.rate_limit.name == "messages-to-recipient"
    verdicts = judge(*[(ANNA, DORA, True)] * 3)
    assert verdicts[:2] == [DeliveryDecision()] * 2
    assert verdicts[2].refusal.rate_limit.name == "messages"
    assert contacts() == {}
