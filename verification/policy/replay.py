"""Replay: recorded attempts are evaluated again, by another policy with counters of its own.

It uses the counters and rules that run in production, on a temporary database. It does not guess what people
would have done: a verified number is credited when it was verified, if its send is sent again; an attempt
that history refused and the replay allows counts as sent and never verified; a challenge is passed by whoever
solved one then. Refusals are recorded by the minute: all of them are evaluated at the moment of the first.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any, Literal, NamedTuple, Protocol

from sqlalchemy import Connection

from verification.policy import traffic
from verification.policy.counters import refund, settle_charges
from verification.policy.evaluation import PolicyEvaluator
from verification.policy.facts import SendAttempt
from verification.policy.file import Policy
from verification.policy.history import RecordedDecision, RecordedRefusals
from verification.policy.rules import Verdict

#: A verification sends nothing, and is not verified, later than this after its start.
MAX_VERIFICATION_AGE = timedelta(hours=1)

#: A savepoint that was rolled back stays open until its transaction ends, so transactions are short.
ATTEMPTS_PER_TRANSACTION = 50

#: The worst that happened to a verified number, best first.
NumberOutcome = Literal["unaffected", "solved", "challenged", "denied"]
NUMBER_OUTCOMES: tuple[NumberOutcome, ...] = ("unaffected", "solved", "challenged", "denied")


class ReplayedDecision(NamedTuple):
    """The decision on a replayed attempt."""

    verdict: Verdict
    #: The deciding rule; None if no rule is against it.
    rule: str | None
    #: Whether a challenge was asked for, solved or not.
    challenged: bool

    @property
    def number_outcome(self) -> NumberOutcome:
        """What it means for the number."""
        if self.verdict == "deny":
            return "denied"
        if self.verdict == "challenge":
            return "challenged"
        return "solved" if self.challenged else "unaffected"


class DecisionSource(Protocol):
    """Decides on recorded attempts, in their order."""

    def decide(self, recorded: RecordedDecision) -> ReplayedDecision:
        """Decide on an attempt and count it."""

    def decide_refusals(self, refusals: RecordedRefusals) -> Iterable[tuple[ReplayedDecision, int]]:
        """Decide on the refusals of a minute; return each decision and how often it was made."""

    def credit(self, first: SendAttempt, sends: int) -> None:
        """Record that a verification, which had so many sends, was verified."""


class RecordedDecisions:
    """Repeats the decisions of history."""

    def decide(self, recorded: RecordedDecision) -> ReplayedDecision:
        """Return the recorded decision; a solved challenge was asked for."""
        challenged = recorded.verdict == "challenge" or recorded.attempt.solved
        return ReplayedDecision(recorded.verdict, recorded.rule, challenged)

    def decide_refusals(self, refusals: RecordedRefusals) -> Iterable[tuple[ReplayedDecision, int]]:
        """Return the recorded decision on all of them."""
        challenged = refusals.verdict == "challenge"
        return [(ReplayedDecision(refusals.verdict, refusals.rule, challenged), refusals.count)]

    def credit(self, first: SendAttempt, sends: int) -> None:
        """Do nothing."""


class ReplayedPolicy:
    """Decides by a policy, in its production modes, with counters of what it allowed itself."""

    def __init__(
        self,
        policy: Policy,
        connection: Connection,
        attempts_per_transaction: int = ATTEMPTS_PER_TRANSACTION,
    ) -> None:
        self._evaluator = PolicyEvaluator(policy, development=False)
        self._connection = connection
        self._attempts_per_transaction = attempts_per_transaction
        self._attempts = 0
        #: Numbers verified so far.
        self._verified: set[bytes] = set()

    def decide(self, recorded: RecordedDecision) -> ReplayedDecision:
        """Count and evaluate an attempt, and settle it as it was settled then."""
        self._attempts += 1
        if self._attempts % self._attempts_per_transaction == 0:
            self._connection.commit()
        attempt = recorded.attempt
        evaluation = self._evaluator.evaluate(
            self._connection,
            replace(attempt, reserve=False),
            known=lambda: attempt.reserve or attempt.number_digest in self._verified,
            # Of the protocols without challenges only those of services can be told by what is stored.
            can_challenge=attempt.subnet is not None,
        )
        decided_by, refused_by = evaluation.decided_by, evaluation.refused_by
        if refused_by is None and recorded.verdict == "allow":
            if recorded.paid_micros is None:
                # The kind of failure is not stored; a rejected number counts in the buckets.
                refund(self._connection, evaluation.counted, keep_velocity=True)
            else:
                settle_charges(self._connection, evaluation.counted, recorded.paid_micros)
        return ReplayedDecision(
            refused_by.result.verdict if refused_by else "allow",
            decided_by.rule.label if decided_by else None,
            decided_by is not None and decided_by.result.verdict == "challenge",
        )

    def decide_refusals(self, refusals: RecordedRefusals) -> Iterable[tuple[ReplayedDecision, int]]:
        """Evaluate one after the other until one is refused, which changes nothing for the rest."""
        decisions: Counter[ReplayedDecision] = Counter()
        kinds = ((True, range(refusals.solved)), (False, range(refusals.solved, refusals.count)))
        for solved, places in kinds:
            for place in places:
                attempt = refusals.attempt(place, solved=solved)
                decision = self.decide(
                    RecordedDecision(attempt, refusals.verdict, refusals.rule, attempt.price_micros)
                )
                if decision.verdict != "allow":
                    decisions[decision] += places.stop - place
                    break
                decisions[decision] += 1
        return decisions.items()

    def credit(self, first: SendAttempt, sends: int) -> None:
        """Credit the prefix, the country and the subnet; the number is known from now on."""
        self._verified.add(first.number_digest)
        keys = traffic.traffic_keys(first.prefix, first.country, first.at, first.subnet)
        traffic.add(self._connection, keys, verified=sends)


@dataclass
class ReplayFigures:
    """What is compared; everything counts attempts, except money and numbers."""

    attempts: int = 0
    sends: int = 0
    #: Allowed, but certainly not sent by any provider.
    failed: int = 0
    #: Challenged and not allowed.
    challenged: int = 0
    #: Allowed because a challenge was solved.
    solved: int = 0
    denied: int = 0
    #: Resends of verifications that would not have started.
    dropped_resends: int = 0
    #: Millionths of the currency.
    money_micros: int = 0
    #: Verified numbers, by the worst decision on their sends.
    verified: Counter[NumberOutcome] = field(default_factory=Counter)
    #: Refused attempts by deciding rule and verdict.
    rules: Counter[str] = field(default_factory=Counter)

    def count(self, decision: ReplayedDecision, paid_micros: int | None, attempts: int = 1) -> None:
        """Count attempts at a price each; None if no provider sends them."""
        self.attempts += attempts
        if decision.verdict != "allow":
            self.rules[f"{decision.rule} {decision.verdict}"] += attempts
            if decision.verdict == "deny":
                self.denied += attempts
            else:
                self.challenged += attempts
            return
        self.solved += decision.challenged * attempts
        if paid_micros is None:
            self.failed += attempts
        else:
            self.sends += attempts
            self.money_micros += paid_micros * attempts

    def document(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return vars(self) | {
            "verified": {outcome: self.verified[outcome] for outcome in NUMBER_OUTCOMES},
            "rules": dict(sorted(self.rules.items())),
        }


@dataclass
class _Verification:
    """A verification while it may still send or be verified."""

    first: SendAttempt
    started: bool = True
    sends: int = 0
    worst: NumberOutcome = "unaffected"


class ReplayColumn:
    """The figures of one source of decisions, from `since` on; earlier history only fills its counters."""

    def __init__(self, source: DecisionSource, since: datetime) -> None:
        self.figures = ReplayFigures()
        self._source = source
        self._since = since
        #: In the order of their starts, so the oldest are dropped first.
        self._running: dict[bytes, _Verification] = {}
        #: When each will be verified; the number orders those of the same moment.
        self._verifying: list[tuple[datetime, int, _Verification]] = []
        self._numbers = count()

    def add(self, recorded: RecordedDecision | RecordedRefusals) -> None:
        """Add the next entry of history."""
        self._advance(recorded.at)
        if isinstance(recorded, RecordedRefusals):
            for decision, attempts in self._source.decide_refusals(recorded):
                if recorded.at >= self._since:
                    self.figures.count(decision, recorded.first.price_micros, attempts)
        else:
            self._add_decision(recorded)

    def _add_decision(self, recorded: RecordedDecision) -> None:
        attempt = recorded.attempt
        key = attempt.number_digest + attempt.verification_nonce
        verification = self._running.get(key)
        if verification is None:
            verification = self._running[key] = _Verification(attempt)
            if recorded.verified_at:
                entry = (recorded.verified_at, next(self._numbers), verification)
                heappush(self._verifying, entry)
        if not verification.started:
            if attempt.at >= self._since:
                self.figures.attempts += 1
                self.figures.dropped_resends += 1
            return
        decision = self._source.decide(recorded)
        allowed = decision.verdict == "allow"
        verification.started = attempt.resend or allowed
        verification.sends += allowed and recorded.paid_micros is not None
        verification.worst = max(
            verification.worst, decision.number_outcome, key=NUMBER_OUTCOMES.index
        )
        if attempt.at >= self._since:
            self.figures.count(decision, recorded.paid_micros)

    def finish(self) -> None:
        """Count what is verified after the last attempt."""
        self._advance(datetime.max.replace(tzinfo=self._since.tzinfo))

    def _advance(self, now: datetime) -> None:
        while self._verifying and self._verifying[0][0] <= now:
            *_, verification = heappop(self._verifying)
            if verification.first.at >= self._since:
                self.figures.verified[verification.worst] += 1
            if verification.sends:
                self._source.credit(verification.first, verification.sends)
        while self._running:
            key, verification = next(iter(self._running.items()))
            if verification.first.at > now - MAX_VERIFICATION_AGE:
                return
            del self._running[key]


def replay(
    history: Iterable[RecordedDecision | RecordedRefusals], columns: Sequence[ReplayColumn]
) -> None:
    """Replay all of history into every column."""
    for recorded in history:
        for column in columns:
            column.add(recorded)
    for column in columns:
        column.finish()
