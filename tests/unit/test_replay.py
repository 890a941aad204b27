"""Replay: history through another policy, with figures that can be counted by hand."""

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from core.database import Database, table
from core.metrics import Metrics
from core.phone_numbers import prefix_of
from core.secrets import DIGEST_SIZE
from sms.metrics import SmsMetrics
from sms.models import Send
from sms.provider import Channel
from tests.conftest import NUMBER, Clock
from tests.databases import fresh_database_url
from tests.policies import budget, velocity, write_policy
from verification.metrics import VerificationMetrics
from verification.policy.facts import SendAttempt
from verification.policy.file import Policy, load_policy
from verification.policy.history import (
    HistorySize,
    RecordedDecision,
    RecordedRefusals,
    count_history,
    read_history,
)
from verification.policy.replay import (
    RecordedDecisions,
    ReplayColumn,
    ReplayedDecision,
    ReplayedPolicy,
    ReplayFigures,
    replay,
)
from verification.policy.service import PolicyDecision, PolicyService
from verification.policy.temporary_database import temporary_database

HOUR = timedelta(hours=1)
CONVERSION = (
    '[[rules]]\nrule = "conversion"\nof = "prefix"\n'
    "hour = { floor = 1, best = 0, last = 0 }\nday = { floor = 2, best = 0.2, last = 0 }\n"
)
BUDGET = '[[rules]]\nrule = "budget"\nof = "total"\nper_day = 0.30\nreserve = 0.0\n'


class NoChallenges:
    """Stands where challenges are made, which replaying does not look at."""

    def create(self, number_digest: bytes, pressure: float, now: Any) -> dict[str, Any]:
        """Make one that nobody solves."""
        return {}


class Recorder:
    """The real policy service, and the sends that follow its decisions, on a clock of its own."""

    def __init__(self, database: Database, policy: Policy, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self._ids = count(1)
        challenges: Any = NoChallenges()
        metrics = Metrics()
        counted = VerificationMetrics(metrics, SmsMetrics(metrics).funnel)
        self.policy = PolicyService(policy, challenges, self.name, counted, development=False)

    def name(self, size: int) -> bytes:
        """Name each thing differently."""
        return next(self._ids).to_bytes(size, "big")

    def attempt(
        self,
        *,
        number: str = NUMBER,
        network: int = 1,
        verification: bytes | None = None,
        channel: Channel = "sms",
        solved: bool = False,
        price_micros: int = 50_000,
    ) -> SendAttempt:
        """Describe a first send, or a resend of a verification."""
        return SendAttempt(
            number_digest=number.encode().rjust(DIGEST_SIZE, b"0"),
            verification_nonce=verification or self.name(DIGEST_SIZE),
            network=network.to_bytes(DIGEST_SIZE, "big"),
            subnet=(network // 4).to_bytes(DIGEST_SIZE, "big"),
            country="DE",
            prefix=prefix_of(number),
            number_type="mobile",
            channel=channel,
            resend=verification is not None,
            solved=solved,
            at=self.clock(),
            price_micros=price_micros,
        )

    def ask(self, attempt: SendAttempt, *, paid_micros: int | None = 50_000) -> PolicyDecision:
        """Have it judged, sent and settled, as the service does; None: no provider took it."""
        with self.database.write() as connection:
            decision = self.policy.decide(connection, attempt, known=lambda: attempt.reserve)
            if decision.problem is None:
                connection.execute(
                    table(Send).insert(),
                    {
                        "number_digest": attempt.number_digest,
                        "id": self.name(DIGEST_SIZE),
                        "verification_nonce": attempt.verification_nonce,
                        "channel": attempt.channel,
                        "provider": "outbox",
                        "country": attempt.country,
                        "prefix": attempt.prefix,
                        "first": not attempt.resend,
                        "price_micros": paid_micros or 0,
                        "status": "failed" if paid_micros is None else "sent",
                        "created_at": self.clock(),
                        "updated_at": self.clock(),
                    },
                )
                self.policy.settle(connection, decision, paid_micros=paid_micros)
        return decision

    def verify(self, attempt: SendAttempt, sends: int = 1) -> None:
        """Have the right code typed in now."""
        with self.database.write() as connection:
            self.policy.record_verified(
                connection,
                attempt.number_digest,
                attempt.verification_nonce,
                prefix=attempt.prefix,
                country=attempt.country,
                subnet=attempt.subnet,
                sends=sends,
                started_at=attempt.at,
                now=self.clock(),
            )

    def replay(self, *policies: Policy, since: timedelta = HOUR * 24) -> list[ReplayFigures]:
        """Give the figures of history as it was, and through policies."""
        now = self.clock() + timedelta(seconds=1)
        columns = [ReplayColumn(RecordedDecisions(), now - since)]
        figures = [columns[0].figures]
        past = list(read_history(self.database, now - 14 * 24 * HOUR, now))
        replay(past, columns)
        for policy in policies:
            with temporary_database() as connection:
                column = ReplayColumn(ReplayedPolicy(policy, connection), now - since)
                replay(past, [column])
            figures.append(column.figures)
        return figures


@pytest.fixture
def policy_of(tmp_path: Path) -> Callable[..., Policy]:
    """Read a policy of these rules."""
    return lambda *rules: load_policy(write_policy(tmp_path, *rules))


def test_verified_people_who_would_be_blocked_are_counted(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """Of five people, three verified: the third, and whom the third kept out, by a limit of two."""
    recorder = Recorder(database, policy_of(velocity("network", 9)), clock)
    for place in range(5):
        attempt = recorder.attempt(number=NUMBER[:-1] + str(place))
        recorder.ask(attempt)
        clock.advance(20)
        if place % 2 == 0:
            recorder.verify(attempt)
        clock.advance(1)

    then, denying, challenging = recorder.replay(
        policy_of(budget("total", 0.10)), policy_of(velocity("network", 2))
    )

    assert (then.attempts, then.sends, then.money_micros) == (5, 5, 250_000)
    assert then.verified == {"unaffected": 3}
    assert (denying.sends, denying.denied, denying.money_micros) == (2, 3, 100_000)
    assert denying.verified == {"unaffected": 1, "denied": 2}
    assert denying.rules == {"budget/total deny": 3}
    assert (challenging.sends, challenging.challenged, challenging.denied) == (2, 3, 0)
    assert challenging.verified == {"unaffected": 1, "challenged": 2}


def test_whom_history_refused_is_sent_to_and_never_verified(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """A laxer policy sends what was refused, at the price that was reserved."""
    recorder = Recorder(database, policy_of(budget("total", 0.05)), clock)
    for _ in range(3):
        recorder.ask(recorder.attempt())
        clock.advance(1)
    then, lax = recorder.replay(policy_of(velocity("network", 9)))
    assert (then.sends, then.denied, then.money_micros) == (1, 2, 50_000)
    assert (lax.sends, lax.denied, lax.money_micros) == (3, 0, 150_000)
    assert not lax.verified


def test_challenge_passes_who_solved_one_then(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """A solution of the past counts again; it does not help against a denial."""
    recorder = Recorder(database, policy_of(velocity("network", 1, over="challenge")), clock)
    recorder.ask(recorder.attempt())
    clock.advance(1)
    recorder.ask(recorder.attempt())
    clock.advance(1)
    solved = recorder.attempt(solved=True)
    assert recorder.ask(solved).problem is None
    clock.advance(30)
    recorder.verify(solved)

    then, same, denying = recorder.replay(
        policy_of(velocity("network", 1, over="challenge")), policy_of(budget("total", 0.05))
    )

    assert (then.sends, then.challenged, then.solved) == (2, 1, 1)
    assert (same.sends, same.challenged, same.solved) == (2, 1, 1)
    assert then.verified == same.verified == {"solved": 1}
    assert denying.verified == {"denied": 1}


def test_resends_of_what_would_not_have_begun_are_not_asked_for(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """Who was refused at the start has no verification to send again."""
    recorder = Recorder(database, policy_of(velocity("network", 9)), clock)
    recorder.ask(recorder.attempt(number="+4915112340001"))
    clock.advance(1)
    late = recorder.attempt()
    recorder.ask(late)
    clock.advance(60)
    recorder.ask(recorder.attempt(verification=late.verification_nonce))
    clock.advance(5)
    recorder.verify(late, sends=2)
    _, strict = recorder.replay(policy_of(budget("total", 0.05)))
    assert (strict.attempts, strict.sends, strict.denied, strict.dropped_resends) == (3, 1, 1, 1)
    assert strict.verified == {"denied": 1}


def test_what_was_verified_is_credited_when_it_was(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """One unverified send is allowed: the second passes after the first is verified, not before."""
    recorder = Recorder(database, policy_of(velocity("network", 9)), clock)
    first = recorder.attempt()
    recorder.ask(first)
    clock.advance(10)
    recorder.ask(recorder.attempt(number=NUMBER[:-1] + "1"))
    clock.advance(10)
    recorder.verify(first)
    clock.advance(10)
    recorder.ask(recorder.attempt(number=NUMBER[:-1] + "2"))
    _, strict = recorder.replay(policy_of(CONVERSION))
    assert (strict.sends, strict.challenged) == (2, 1)
    assert strict.verified == {"unaffected": 1}


def test_warm_up_is_judged_and_not_counted(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """What lies before the time that is asked about fills the counters, and no figure."""
    recorder = Recorder(database, policy_of(velocity("network", 9)), clock)
    before = recorder.attempt()
    recorder.ask(before)
    clock.advance(30)
    recorder.verify(before)
    clock.advance(3600)
    recorder.ask(recorder.attempt())
    then, strict = recorder.replay(policy_of(budget("total", 0.05)), since=HOUR)
    assert (then.attempts, then.sends, then.verified.total()) == (1, 1, 0)
    assert (strict.attempts, strict.denied, strict.verified.total()) == (1, 1, 0)


def test_what_no_provider_took_costs_nothing(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """A send that failed for certain is let through and not sent; a cheaper one costs what was paid."""
    recorder = Recorder(database, policy_of(BUDGET), clock)
    recorder.ask(recorder.attempt(price_micros=300_000), paid_micros=None)
    clock.advance(1)
    recorder.ask(recorder.attempt(price_micros=300_000), paid_micros=100_000)
    clock.advance(1)
    recorder.ask(recorder.attempt(price_micros=200_000), paid_micros=200_000)
    for figures in recorder.replay(policy_of(BUDGET)):
        assert (figures.attempts, figures.failed, figures.sends) == (3, 1, 2)
        assert (figures.money_micros, figures.denied) == (300_000, 0)


def test_history_is_read_over_many_pages(
    database: Database,
    clock: Clock,
    policy_of: Callable[..., Policy],
) -> None:
    """Each decision comes once, in order, however many of one moment a page ends among."""
    recorder = Recorder(database, policy_of(velocity("network", 999)), clock)
    for place in range(7):
        recorder.ask(recorder.attempt())
        clock.advance(place % 3 == 2)
    since, until = clock() - HOUR, clock() + HOUR
    past = [
        each
        for each in read_history(database, since, until, page_size=2)
        if isinstance(each, RecordedDecision)
    ]
    assert count_history(database, since, until) == HistorySize(7, 0, 0)
    keys = [(each.attempt.at, each.attempt.verification_nonce) for each in past]
    assert len(set(keys)) == 7 and keys == sorted(keys)


class KeepingPolicy(ReplayedPolicy):
    """Keeps its decisions."""

    def __init__(self, policy: Policy, connection: Connection) -> None:
        super().__init__(policy, connection, attempts_per_transaction=7)
        self.decisions: list[ReplayedDecision] = []

    def decide(self, recorded: RecordedDecision) -> ReplayedDecision:
        """Decide, and keep the decision."""
        self.decisions.append(super().decide(recorded))
        return self.decisions[-1]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("ask", "ask", "ask", "solve", "fail", "again", "verify")),
        st.integers(0, 5),
        st.integers(1, 9),
        # Of two that are refused in one minute the order is lost.
        st.sampled_from((61, 400, 1800)),
    ),
    max_size=60,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_policy_that_made_history_decides_the_same_again(
    steps: list[tuple[str, int, int, int]],
    tmp_path: Path,
    policy_of: Callable[..., Policy],
) -> None:
    """Replayed under its own policy, every attempt gets the verdict it got, by the same rule."""
    policy = policy_of(
        velocity("number-and-requester", 4),
        velocity("network", 6, over="challenge", period="1h"),
        CONVERSION,
        '[[rules]]\nrule = "countries"\nmax = 6\nover = "challenge"\n',
        BUDGET.replace("0.30", "0.80"),
    )
    clock = Clock()
    database = Database(fresh_database_url("sqlite", tmp_path))
    recorder = Recorder(database, policy, clock)
    pending: list[tuple[SendAttempt, int]] = []
    for step, last, network, seconds in steps:
        clock.advance(seconds)
        number = NUMBER[:-1] + str(last)
        pending = [each for each in pending if each[0].at > clock() - HOUR / 6]
        if step == "verify" and pending:
            recorder.verify(*pending.pop(last % len(pending)))
        elif step == "again" and pending:
            attempt, sends = pending.pop(last % len(pending))
            resend = recorder.attempt(
                number=NUMBER[:-1] + attempt.number_digest.decode()[-1],
                network=int.from_bytes(attempt.network, "big"),
                verification=attempt.verification_nonce,
                channel="voice" if sends == 1 else "sms",
            )
            allowed = recorder.ask(resend).problem is None
            pending.append((attempt, sends + allowed))
        elif step in ("ask", "solve", "fail"):
            attempt = recorder.attempt(number=number, network=network, solved=step == "solve")
            paid = None if step == "fail" else 40_000
            if recorder.ask(attempt, paid_micros=paid).problem is None and paid:
                pending.append((attempt, 1))
    clock.advance(3600)
    now = clock()
    past = list(read_history(database, now - 14 * 24 * HOUR, now))
    database.close()
    with temporary_database() as connection:
        kept_policy = KeepingPolicy(policy, connection)
        replay(past, [ReplayColumn(kept_policy, now)])
    assert all(each.count == 1 for each in past if isinstance(each, RecordedRefusals))
    assert [
        (said.verdict, said.rule if said.verdict != "allow" else None)
        for said in kept_policy.decisions
    ] == [(each.verdict, each.rule) for each in past]


def test_refusals_of_a_minute_weigh_by_their_count(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """Forty numbers of forty networks were refused in two rows; each is judged again as one of many."""
    recorder = Recorder(database, policy_of(velocity("prefix", 2)), clock)
    for place in range(42):
        number = f"{NUMBER[:-2]}{place:02d}"
        recorder.ask(recorder.attempt(number=number, network=4 * place))
        clock.advance(2)
    now = clock()
    stored = count_history(database, now - HOUR, now)
    assert (stored.decisions, stored.refused, stored.minutes) == (2, 40, 2)

    then, lax, by_network, by_prefix = recorder.replay(
        policy_of(velocity("network", 99)),
        policy_of(velocity("number-and-requester", 1), velocity("network", 1)),
        policy_of(velocity("prefix", 12)),
    )

    assert (then.attempts, then.sends, then.challenged) == (42, 2, 40)
    assert then.rules == {"velocity/prefix challenge": 40}
    assert (lax.sends, lax.money_micros) == (42, 42 * 50_000)
    assert by_network.sends == 42
    assert (by_prefix.sends, by_prefix.challenged) == (12, 30)


def test_refusals_of_one_number_stay_those_of_one(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """What all of a row had in common they have again."""
    recorder = Recorder(database, policy_of(velocity("prefix", 1)), clock)
    for _ in range(11):
        recorder.ask(recorder.attempt())
    then, strict = recorder.replay(policy_of(velocity("number-and-requester", 3)))
    assert (then.attempts, then.challenged) == (11, 10)
    assert (strict.sends, strict.denied) == (3, 8)
    assert strict.rules == {"velocity/number-and-requester deny": 8}


def test_solved_challenges_among_refusals_pass_again(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """Of those that were denied, who had solved a challenge passes one."""
    recorder = Recorder(database, policy_of(budget("total", 0.05)), clock)
    recorder.ask(recorder.attempt())
    for solved in (True, False, True, False, False):
        recorder.ask(recorder.attempt(solved=solved))
    then, asking = recorder.replay(policy_of(velocity("network", 1)))
    assert (then.sends, then.denied) == (1, 5)
    assert (asking.sends, asking.solved, asking.challenged) == (3, 2, 3)


def test_known_numbers_draw_on_the_reserve_again(
    database: Database, clock: Clock, policy_of: Callable[..., Policy]
) -> None:
    """Who was verified in history that is replayed is known from then on, like who was known then."""
    recorder = Recorder(database, policy_of(velocity("network", 9)), clock)
    verified = recorder.attempt()
    recorder.ask(verified)
    clock.advance(10)
    recorder.verify(verified)
    clock.advance(10)
    for number in (NUMBER, NUMBER[:-1] + "1"):
        recorder.ask(recorder.attempt(number=number, solved=True))
        clock.advance(10)
    _, kept, open_to_all = recorder.replay(
        policy_of(budget("total", 0.10, reserve=0.5)), policy_of(budget("total", 0.05))
    )
    assert (kept.sends, kept.denied, kept.rules) == (2, 1, {"budget/total deny": 1})
    assert (open_to_all.sends, open_to_all.denied) == (1, 2)


def test_command_prints_three_columns_and_says_how_challenges_are_treated(
    app: OpenAPI, verify: Callable[..., str], clock: Clock, tmp_path: Path
) -> None:
    """The command reads what was really decided, in the order of time, and prints it side by side."""
    for last in range(3):
        verify(NUMBER[:-1] + str(last))
        clock.advance(60)
    strict = str(write_policy(tmp_path, budget("total", 0.05)))
    runner = app.test_cli_runner()
    result = runner.invoke(args=["policy", "replay", "--policy", strict, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["decisions"] == 3 and document["currency"] == "EUR"
    assert [document[name]["sends"] for name in ("recorded", "current", "new")] == [3, 3, 1]
    assert document["new"]["verified"]["denied"] == 2
    assert document["refusals_by_minute"] == {"rows": 0, "requests": 0}
    table = runner.invoke(args=["policy", "replay", "--policy", strict]).stdout
    assert "by the minute" not in table
    assert "recorded" in table and "solved one then" in table
    denied = next(line for line in table.splitlines() if "denied once or more" in line)
    assert denied.split()[-3:] == ["0", "0", "2"]


@pytest.mark.parametrize("since", ["7", "week", "31d", "0d"])
def test_command_refuses_times_it_cannot_read(app: OpenAPI, since: str) -> None:
    """A time is written as in the policy file."""
    arguments = ["policy", "replay", "--policy", "x.toml", "--since", since]
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 2 and "write a duration as" in result.output
