"""A device that does not listen is woken once, without content, until it answers."""

from uuid import UUID

import pytest

from messaging.notifications.listeners import LongPoll
from messaging.push import wakeup_queue
from messaging.push.schedule import REPEATS
from messaging.push.waker import (
    CLAIM_DURATION,
    GATHER_SECONDS,
    LEFT_DELAY,
    STOPPED_DELAY,
    SWEEP_DELAY,
)
from tests.contract.fake_http import Answer
from tests.contract.fake_push import vapid_claims

#: Before every mailbox.
BEGIN = UUID(int=0)


def test_a_message_wakes_the_browser(client, app, service, browser, subscribed, send, turn) -> None:
    """One request under VAPID, with nothing in it but that something waits."""
    send(subscribed, content=b"a secret")
    turn()

    (request,) = service.received
    assert browser.open(request) == {"type": "messages.waiting"}
    parameters = client.get("/v1/push-subscription/parameters", headers=subscribed.headers).json
    claims = vapid_claims(request, parameters["vapid_public_key"])
    now = app.extensions["kith"].runtime.clock().timestamp()
    assert (claims["aud"], claims["sub"]) == (service.url, "mailto:ops@example.com")
    assert now < claims["exp"] <= now + 86_400
    assert (request.headers["TTL"], request.headers["Topic"]) == ("86400", "messages")
    assert request.headers["Urgency"] == "high"


def test_many_messages_wake_it_once(service, subscribed, send, turn) -> None:
    """What comes while it has not answered is behind the same wake-up."""
    for _ in range(3):
        send(subscribed)
        turn()

    assert len(service.received) == 1


def test_who_answered_is_woken_again(service, subscribed, send, acknowledge, turn) -> None:
    """An acknowledgement says that it was there; the next message wakes it at once."""
    send(subscribed)
    turn()
    acknowledge(subscribed, 1)
    send(subscribed)
    turn()

    assert len(service.received) == 2


def test_a_lost_wakeup_is_repeated_in_growing_intervals(
    service, subscribed, send, turn, clock
) -> None:
    """A wake-up that reached nobody silences no device, and one that is off is not woken for ever."""
    send(subscribed)
    turn()
    for times, interval in enumerate(REPEATS, start=1):
        clock.advance(interval.total_seconds() - 1)
        turn()
        assert len(service.received) == times
        clock.advance(1)
        turn()
        assert len(service.received) == times + 1

    clock.advance(days=20)
    send(subscribed)
    turn()
    assert len(service.received) == len(REPEATS) + 1


def test_who_was_silent_is_woken_once_it_answered(
    service, subscribed, send, acknowledge, turn, clock
) -> None:
    """After the last repeat an acknowledgement begins it anew."""
    send(subscribed)
    turn()
    for interval in REPEATS:
        clock.advance(interval.total_seconds())
        turn()
    acknowledge(subscribed, 1)
    send(subscribed)
    turn()

    assert len(service.received) == len(REPEATS) + 2


def test_nothing_is_repeated_once_all_is_acknowledged(
    service, subscribed, send, acknowledge, turn, clock, rows
) -> None:
    """When the repeat is due nothing waits, and the subscription is idle."""
    send(subscribed)
    turn()
    acknowledge(subscribed, 1)
    clock.advance(days=1)
    turn()

    assert len(service.received) == 1
    assert [(row.due_at, row.wakeups_unanswered, row.is_claimed) for row in rows()] == [
        (None, 0, False)
    ]


def test_who_listens_is_not_woken(app, service, subscribed, send, turn) -> None:
    """A device with an open socket or long poll hears of the message there."""
    registry = app.extensions["kith"].messaging.messages.registry
    device_id = app.extensions["kith"].tokens.device_tokens.authenticate(subscribed.token).device_id
    with registry.register(device_id, LongPoll()):
        send(subscribed)
    turn()

    assert service.received == []


@pytest.mark.parametrize("status", [404, 410])
def test_an_address_that_is_gone_is_dropped(
    client, service, subscribed, send, turn, clock, status
) -> None:
    """It is never asked again."""
    service.next(Answer(status))
    send(subscribed)
    turn()
    clock.advance(days=1)
    turn()

    assert len(service.received) == 1
    answer = client.get("/v1/push-subscription", headers=subscribed.headers)
    assert answer.status_code == 404


def test_an_overloaded_service_is_given_time(service, subscribed, send, turn, clock, rows) -> None:
    """Not before its Retry-After, and later each time it fails; then all is as if it had not."""
    service.next(Answer(429, headers={"Retry-After": "600"}), Answer(503), Answer(503))
    send(subscribed)
    turn()
    clock.advance(599)
    send(subscribed)
    turn()
    assert len(service.received) == 1
    clock.advance(1)
    turn()
    clock.advance(119)
    turn()
    assert len(service.received) == 2
    clock.advance(1)
    turn()
    clock.advance(240)
    turn()

    assert len(service.received) == 4
    assert [(row.failures, row.wakeups_unanswered) for row in rows()] == [(0, 1)]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(403), "refused"),
        (Answer(307, headers={"Location": "http://127.0.0.1:1/"}), "refused"),
        (Answer(500), "unavailable"),
        (Answer(drop=True), "unknown"),
    ],
)
def test_what_went_wrong_is_counted_and_tried_again(
    app, service, subscribed, send, turn, clock, answer, outcome
) -> None:
    """A redirect is not followed; a lost answer may wake twice."""
    service.next(answer)
    send(subscribed)
    turn()
    assert len(service.received) == 1
    clock.advance(60)
    turn()

    assert len(service.received) == 2
    counted = app.extensions["kith"].runtime.metrics.registry.get_sample_value
    name = "kith_push_wakeups_total"
    assert counted(name, {"provider": "webpush", "outcome": outcome}) == 1
    assert counted(name, {"provider": "webpush", "outcome": "woken"}) == 1


def test_a_mark_that_was_lost_is_found(app, service, subscribed, send, turn, clock) -> None:
    """Between commit and mark the process was killed: the next one walks the mailboxes."""
    waker = app.extensions["kith"].messaging.push.waker
    app.extensions["kith"].messaging.messages.registry.offline_handlers.clear()
    send(subscribed)
    turn()
    assert service.received == []

    assert waker.sweep(BEGIN) is None
    turn()
    assert service.received == []
    clock.advance(SWEEP_DELAY.total_seconds())
    turn()
    assert len(service.received) == 1


def test_the_walk_delays_nobody(app, service, subscribed, send, turn) -> None:
    """A message that the walk finds before it is marked wakes at once all the same."""
    waker = app.extensions["kith"].messaging.push.waker
    send(subscribed)
    waker.sweep(BEGIN)
    turn()

    assert len(service.received) == 1


@pytest.fixture
def registry(app):
    """Who listens."""
    return app.extensions["kith"].messaging.messages.registry


@pytest.fixture
def waker(app):
    """What wakes devices."""
    return app.extensions["kith"].messaging.push.waker


def test_who_left_with_something_unacknowledged_is_woken_within_5_seconds(
    registry, waker, service, subscribed, send, turn, clock
) -> None:
    """It is marked when the socket ends, and nothing else wakes it sooner."""
    device_id = UUID(subscribed.device_id)
    with registry.register(device_id, LongPoll()):
        send(subscribed)
    waker.on_left(device_id)
    turn()
    send(subscribed)
    turn()
    assert service.received == []
    clock.advance(LEFT_DELAY.total_seconds())
    turn()

    assert len(service.received) == 1
    assert LEFT_DELAY.total_seconds() + 2 * GATHER_SECONDS < 5


def test_who_left_with_nothing_is_left_alone(
    registry, waker, service, subscribed, send, acknowledge, turn, clock, rows
) -> None:
    """All was acknowledged: there is nothing to wake for, and the next message wakes at once."""
    device_id = UUID(subscribed.device_id)
    with registry.register(device_id, LongPoll()):
        send(subscribed)
        acknowledge(subscribed, 1)
    waker.on_left(device_id)
    turn()
    assert [row.due_at for row in rows()] == [None]
    send(subscribed)
    turn()
    assert len(service.received) == 1


def test_who_is_back_in_time_is_not_woken(
    registry, waker, service, subscribed, send, acknowledge, turn, clock, rows
) -> None:
    """Not when the grace is over, either; and when it leaves again, it is as it was the first time."""
    device_id = UUID(subscribed.device_id)
    with registry.register(device_id, LongPoll()):
        send(subscribed)
    waker.on_left(device_id)
    turn()
    with registry.register(device_id, LongPoll()):
        clock.advance(LEFT_DELAY.total_seconds())
        turn()
        turn()
        assert service.received == []
        assert [(row.due_at, row.is_claimed, row.wakeups_unanswered) for row in rows()] == [
            (None, False, 0)
        ]
    waker.on_left(device_id)
    turn()
    clock.advance(LEFT_DELAY.total_seconds())
    turn()
    assert len(service.received) == 1


def test_a_deploy_wakes_nobody_who_returns(
    registry, waker, service, subscribed, send, turn, clock
) -> None:
    """Closed with 1001, a device has 30 seconds, in which messages that come do not wake it either."""
    device_id = UUID(subscribed.device_id)
    waker.on_left(device_id, is_stopping=True)
    waker.flush(1)
    send(subscribed)
    clock.advance(STOPPED_DELAY.total_seconds() - 1)
    turn()
    with registry.register(device_id, LongPoll()):
        clock.advance(1)
        turn()
        turn()
    assert service.received == []
    send(subscribed)
    turn()
    assert len(service.received) == 1


def test_who_does_not_return_after_a_deploy_is_woken(
    waker, service, subscribed, send, turn, clock
) -> None:
    """After the 30 seconds, and sooner when another worker sees it come and go."""
    device_id = UUID(subscribed.device_id)
    send(subscribed)
    waker._offline.clear()
    waker.on_left(device_id, is_stopping=True)
    turn()
    clock.advance(STOPPED_DELAY.total_seconds() - 1)
    turn()
    assert service.received == []
    clock.advance(1)
    turn()
    assert len(service.received) == 1


def test_a_mark_comes_earlier_when_a_socket_ends(
    waker, service, subscribed, send, turn, clock
) -> None:
    """Whoever was told to come back, came and went, is waited for as after any other end."""
    device_id = UUID(subscribed.device_id)
    send(subscribed)
    waker._offline.clear()
    waker.on_left(device_id, is_stopping=True)
    turn()
    waker.on_left(device_id)
    turn()
    clock.advance(LEFT_DELAY.total_seconds())
    turn()
    assert len(service.received) == 1


def test_who_was_woken_and_left_without_an_answer_is_woken_as_planned(
    registry, waker, service, subscribed, send, acknowledge, turn, clock
) -> None:
    """A device that comes and goes without acknowledging is not woken each time, and is once it did."""
    device_id = UUID(subscribed.device_id)
    send(subscribed)
    turn()
    for _ in range(3):
        waker.on_left(device_id)
        turn()
        clock.advance(LEFT_DELAY.total_seconds())
        turn()
    assert len(service.received) == 1
    with registry.register(device_id, LongPoll()):
        clock.advance(REPEATS[0].total_seconds())
        turn()
        turn()
    assert len(service.received) == 1
    clock.advance(REPEATS[0].total_seconds())
    turn()
    assert len(service.received) == 2
    send(subscribed)
    acknowledge(subscribed, 1)
    waker.on_left(device_id)
    turn()
    clock.advance(LEFT_DELAY.total_seconds())
    turn()
    assert len(service.received) == 3


def test_an_overloaded_service_is_given_its_time_whoever_comes_and_goes(
    registry, waker, service, subscribed, send, turn, clock
) -> None:
    """Neither a socket that ends nor one that is open makes the next try come sooner."""
    device_id = UUID(subscribed.device_id)
    service.next(Answer(503), Answer(503))
    send(subscribed)
    turn()
    waker.on_left(device_id)
    turn()
    clock.advance(59)
    turn()
    assert len(service.received) == 1
    with registry.register(device_id, LongPoll()):
        clock.advance(1)
        turn()
        turn()
    clock.advance(59)
    turn()
    assert len(service.received) == 1
    clock.advance(1)
    turn()
    assert len(service.received) == 2


def test_a_poll_that_was_not_acknowledged(
    client, waker, service, subscribed, send, acknowledge, turn, clock
) -> None:
    """Whoever fetched by a long poll and acknowledged is left alone; who did not is woken."""
    waker.acknowledge_seconds = 0.0
    for acknowledges in (True, False):
        waker._offline.clear()
        send(subscribed)
        waker._offline.clear()
        page = client.get("/v1/messages?wait=20", headers=subscribed.headers).json
        if acknowledges:
            acknowledge(subscribed, page["messages"][-1]["seq"])
        turn()
        assert len(service.received) == (not acknowledges)


def test_a_process_that_dies_while_it_sends_leaves_it_to_the_next(
    app, service, subscribed, send, turn, clock
) -> None:
    """Its claim runs out."""
    kith = app.extensions["kith"]
    send(subscribed)
    kith.messaging.push.waker._schedule_offline()
    with kith.runtime.database.write() as connection:
        until = clock() + CLAIM_DURATION
        assert len(wakeup_queue.claim(connection, "webpush", clock(), until, 10)) == 1
    turn()
    assert service.received == []
    clock.advance(CLAIM_DURATION.total_seconds())
    turn()
    assert len(service.received) == 1


def test_a_claim_that_ran_out_writes_nothing(
    app, subscribed, send, turn, clock, rows, service
) -> None:
    """What it came to is for whoever claimed it after."""
    kith = app.extensions["kith"]
    send(subscribed)
    kith.messaging.push.waker._schedule_offline()
    with kith.runtime.database.write() as connection:
        (late,) = wakeup_queue.claim(connection, "webpush", clock(), clock() + CLAIM_DURATION, 10)
        clock.advance(CLAIM_DURATION.total_seconds())
        (now,) = wakeup_queue.claim(connection, "webpush", clock(), clock() + CLAIM_DURATION, 10)
        wakeup_queue.remove(connection, [late])
        wakeup_queue.settle(connection, [wakeup_queue.Settlement(late, None, 1, 0)])

    assert [(row.is_claimed, row.due_at, row.wakeups_unanswered) for row in rows()] == [
        (True, now.expires_at, 0)
    ]


def test_a_message_that_is_not_urgent_wakes_nobody(
    app, service, subscribed, send, turn, clock
) -> None:
    """Neither at once nor when the mailboxes are walked."""
    kith = app.extensions["kith"]
    kith.messaging.messages.registry.offline_handlers.clear()
    send(subscribed)
    with kith.runtime.database.write() as connection:
        connection.exec_driver_sql("UPDATE mailboxes SET urgent_seq = 0")
    kith.messaging.push.waker.sweep(BEGIN)
    clock.advance(days=1)
    turn()

    assert service.received == []
