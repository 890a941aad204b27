"""The policy at work: an attempt is judged, the decision is written down, and who is refused is told why.

An attempt that is refused leaves one more in the count of its refusals and nothing else: what was counted
for it is taken back in the same transaction. Rules in record mode never block.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, update

from core.database import purge, table
from core.problems import Problem, RateLimitStatus
from core.rate_limits import RateLimit
from verification.metrics import VerificationMetrics
from verification.policy import refusals, traffic
from verification.policy.challenge import ChallengeService, Solution
from verification.policy.counters import Counted, settle_money, take_back
from verification.policy.evaluation import Judge, Judged, Judgement
from verification.policy.facts import Attempt, Facts
from verification.policy.file import Policy
from verification.policy.models import Decision
from verification.policy.owners import note_proven
from verification.policy.rules import VelocityRule
from verification.problems import ChallengeRequired

RETENTION = timedelta(days=30)
#: The rule whose status is announced to the requester.
OWN_LIMIT = "velocity/number-and-requester"
#: What a person is told besides the rule's reason, where a challenge lets her through.
HOW_TO_PASS = "Solve the challenge and send the request again with its solution."

_DECISIONS = table(Decision)
_STORING = _DECISIONS.insert()
_VERIFYING = (
    update(_DECISIONS)
    .where(
        _DECISIONS.c.number_digest == bindparam("of"),
        _DECISIONS.c.verification == bindparam("half"),
        _DECISIONS.c.verdict == "allow",
    )
    .values(verified_at=bindparam("now"))
)


@dataclass(frozen=True)
class Ruling:
    """What was decided of an attempt; `problem` is set when it was refused, and nothing is counted."""

    counted: Counted
    problem: Problem | None
    #: What the requester has left for this number.
    rate_limit: RateLimitStatus | None
    #: The solution that was used up for it.
    spent: Solution | None = None


class PolicyService:
    """Decides which texts and calls are sent."""

    def __init__(
        self,
        policy: Policy,
        challenges: ChallengeService,
        entropy: Callable[[int], bytes],
        metrics: VerificationMetrics,
        *,
        development: bool,
    ) -> None:
        self._judge = Judge(policy, development=development)
        self._own_limit = next((rule for rule in policy.rules if rule.label == OWN_LIMIT), None)
        self._own_mode = self._own_limit and policy.mode_of(
            self._own_limit, development=development
        )
        self._challenges = challenges
        self._entropy = entropy
        self._metrics = metrics

    @property
    def own_limit(self) -> RateLimit | None:
        """The bucket of a requester's sends to one number; None where no rule denies by it."""
        rule = self._own_limit
        if isinstance(rule, VelocityRule) and rule.over == "deny" and self._own_mode == "enforce":
            return rule.limit
        return None

    def judge(
        self,
        connection: Connection,
        attempt: Attempt,
        solution: Solution | None = None,
        *,
        known: Callable[[], bool],
        asks: bool = True,
    ) -> Ruling:
        """Count and judge an attempt in the caller's transaction, which must commit either way.

        known: whether the number has an account or was verified before; asked only when that decides.
        asks: whether the door can carry a challenge. A solution is used up only where it was needed.
        Raises ChallengeRejected, which is to roll everything back, when it was used before.
        """
        judgement = self._judge.judge(connection, attempt, solution, known=known, asks=asks)
        counted, decided = judgement.counted, judgement.refused_by
        self._note(judgement)
        rate_limit = self._rate_limit_status(counted.facts)
        if decided is None:
            self._record(connection, judgement, _written(judgement.judged))
            solved = judgement.against is not None
            return Ruling(counted, None, rate_limit, solution if solved else None)
        findings = _written([one for one in judgement.judged if one.finding.verdict != "allow"])
        decision = refusals.refuse(
            connection, decided.rule, decided.finding.verdict, counted.facts, findings
        ).id
        return Ruling(counted, self._problem(attempt, decided, rate_limit, decision), rate_limit)

    def _problem(
        self, attempt: Attempt, decided: Judged, rate_limit: RateLimitStatus | None, decision: str
    ) -> Problem:
        rule, finding = decided.rule, decided.finding
        if finding.verdict == "challenge":
            challenge = self._challenges.make(attempt.number_digest, finding.pressure, attempt.at)
            return ChallengeRequired(
                f"{rule.asking or rule.detail} {HOW_TO_PASS}",
                challenge=challenge,
                decision=decision,
            )
        reason = finding.figures.get("because")
        return rule.refusal(
            f"{rule.detail} {reason}" if reason else rule.detail,
            retry_after=finding.retry_after,
            rate_limit=rate_limit if rule.label == OWN_LIMIT else None,
            decision=decision,
            **{name: finding.figures[name] for name in rule.told},
        )

    def _rate_limit_status(self, facts: Facts) -> RateLimitStatus | None:
        """Say what the requester has left for the number, where a rule limits that."""
        rule = self._own_limit
        return rule.rate_limit_status(facts) if isinstance(rule, VelocityRule) else None

    def _note(self, judgement: Judgement) -> None:
        """Count what was found and decided in the metrics."""
        decided = judgement.refused_by
        for each in judgement.judged:
            if each.finding.verdict != "allow":
                self._metrics.rule_results.labels(
                    each.rule.label, each.finding.verdict, each.mode
                ).inc()
        verdict = decided.finding.verdict if decided else "allow"
        self._metrics.policy_decisions.labels(verdict).inc()
        if decided and not judgement.attempt.resend:
            self._metrics.funnel.labels("refused", judgement.attempt.country, "none").inc()

    def _record(self, connection: Connection, judgement: Judgement, findings: str) -> None:
        """Write down that an attempt may be sent, and why."""
        attempt = judgement.attempt
        connection.execute(
            _STORING,
            {
                "number_digest": attempt.number_digest,
                "verification": attempt.verification,
                "id": self._entropy(16),
                "network": attempt.network,
                "wider": attempt.wider,
                "country": attempt.country,
                "prefix": attempt.prefix,
                "number_type": attempt.number_type,
                "channel": attempt.channel,
                "resend": attempt.resend,
                "price_micros": attempt.price_micros,
                "solved": attempt.solved,
                "reserve": attempt.reserve,
                "verdict": "allow",
                "rule": None,
                "findings": findings,
                "created_at": attempt.at,
            },
        )

    @staticmethod
    def settle(
        connection: Connection, ruling: Ruling, *, paid_micros: int | None, asked_for: bool = True
    ) -> None:
        """Put right what was counted, once it is known what was paid; None when nothing was sent.

        asked_for: whether a send that did not happen counts against who asked for it all the same.
        """
        if paid_micros is None:
            take_back(connection, ruling.counted, velocity=asked_for)
            if ruling.spent and not asked_for:
                ruling.spent.give_back(connection)
        else:
            settle_money(connection, ruling.counted, paid_micros)

    @staticmethod
    def verified(
        connection: Connection,
        number_digest: bytes,
        verification: bytes,
        *,
        prefix: str,
        country: str,
        wider: bytes | None,
        sends: int,
        started_at: datetime,
        now: datetime,
    ) -> None:
        """Credit a verification that was just verified to its prefix, its country and its network."""
        connection.execute(_VERIFYING, {"of": number_digest, "half": verification, "now": now})
        note_proven(connection, number_digest, now)
        cells = traffic.cells_of(prefix, country, started_at, wider)
        traffic.add(connection, cells, verified=sends)

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of decisions whose time is over."""
        return purge(connection, Decision, Decision.created_at < now - RETENTION)


def _written(judged: Sequence[Judged]) -> str:
    """Write what each rule found as the tables keep it."""
    return json.dumps(
        [
            {
                "rule": each.rule.label,
                "mode": each.mode,
                "verdict": each.finding.verdict,
                **each.finding.figures,
            }
            for each in judged
        ],
        separators=(",", ":"),
    )
