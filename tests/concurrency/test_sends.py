"""Sends side by side: one message a person whatever fails, and none of the outcomes is lost."""

from collections import Counter
from typing import Any

from sqlalchemy import func, select

from sms.models import RoutingOutcome, Send
from sms.provider import Ambiguous, Unavailable
from tests.concurrency.test_verification import post, together
from tests.conftest import KEY, MakeApp
from tests.scripted import Scripted

PEOPLE = 12
NUMBERS = [f"+4915112345{n:03d}" for n in range(PEOPLE)]


def start_twice(app: Any) -> list[Any]:
    """Let everyone start, each with the same request twice at once."""
    return together(
        2 * PEOPLE,
        lambda n: post(
            app,
            "/v1/verifications",
            {"phone_number": NUMBERS[n % PEOPLE]},
            **{"Idempotency-Key": KEY},
        ),
    )


def test_everyone_falls_to_the_other_provider_once(make_app: MakeApp) -> None:
    """One provider is away: each person gets one text of the other's, and each outcome is counted."""
    away, well = Scripted("away"), Scripted("well")
    away.faults = [Unavailable()] * PEOPLE
    app = make_app(ports={"providers": (away, well)})
    answers = start_twice(app)
    assert [answer.status_code for answer in answers] == [201] * 2 * PEOPLE
    assert Counter(message.to for message in well.taken) == dict.fromkeys(NUMBERS, 1)
    ids = {answer.json["phone_number"]: answer.json["id"] for answer in answers}
    codes = {message.to: message.body.split()[0] for message in well.taken}
    checked = together(
        PEOPLE,
        lambda n: post(
            app, f"/v1/verifications/{ids[NUMBERS[n]]}/checks", {"code": codes[NUMBERS[n]]}
        ),
    )
    assert {answer.status_code for answer in checked} == {200}
    with app.extensions["kith"].runtime.database.read() as connection:
        totals = connection.execute(
            select(func.sum(RoutingOutcome.sends), func.sum(RoutingOutcome.verified))
        ).one()
        credited = select(func.count()).where(Send.provider == "well", Send.first)
        assert tuple(totals) == (PEOPLE, connection.scalar(credited))
        statuses = connection.execute(select(Send.provider, Send.status)).all()
    assert Counter(map(tuple, statuses)) == {
        ("well", "delivered"): PEOPLE,
        **({("away", "failed"): away.calls} if away.calls else {}),
    }


def test_nobody_gets_two_when_answers_are_lost(make_app: MakeApp) -> None:
    """Each provider takes what it is given and loses the answer: one message a person in all."""
    providers = Scripted("one"), Scripted("two")
    taken: Counter[str] = Counter()
    for provider in providers:
        provider.faults = [Ambiguous("read-timeout")] * 2 * PEOPLE
        provider.before_answer = lambda message: taken.update([message.to])
    app = make_app(ports={"providers": providers})
    assert {answer.status_code for answer in start_twice(app)} == {201}
    assert taken == dict.fromkeys(NUMBERS, 1)
    with app.extensions["kith"].runtime.database.read() as connection:
        assert set(connection.scalars(select(Send.status))) == {"unknown"}
        assert connection.scalar(select(func.sum(RoutingOutcome.sends))) == PEOPLE
