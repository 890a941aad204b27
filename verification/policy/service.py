"""The policy service: decides on an attempt, stores the decision and returns the problem of a refusal.

What a refused attempt counted is rolled back in the same transaction; the count of refusals, a used solution
and its subnet's look at a known number stay. Rules in record mode never refuse.
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
from verification.policy import traffic
from verification.policy.challenge import ChallengeService, Solution
from verification.policy.counters import CountedAttempt, refund, settle_charges
from verification.policy.evaluation import EvaluatedRule, Evaluation, PolicyEvaluator
from verification.policy.facts import Facts, SendAttempt
from verification.policy.file import Policy
from verification.policy.known_numbers import remember_proven
from verification.policy.models import Decision
from verification.policy.refusals import record_refusal
from verification.policy.rules import VelocityRule
from verification.problems import ChallengeRequired

RETENTION = timedelta(days=30)
#: The rule whose limit is announced to the requester.
REQUESTER_LIMIT = "velocity/number-and-requester"
#: Follows the rule's detail where a challenge lets the client through.
CHALLENGE_INSTRUCTION = "Solve the challenge and send the request again with its solution."

_DECISIONS = table(Decision)
INSERT_DECISION = _DECISIONS.insert()
UPDATE_VERIFIED = (
    update(_DECISIONS)
    .where(
        _DECISIONS.c.number_digest == bindparam("digest"),
        _DECISIONS.c.verification_nonce == bindparam("nonce"),
        _DECISIONS.c.verdict == "allow",
    )
    .values(verified_at=bindparam("now"))
)


@dataclass(frozen=True)
class PolicyDecision:
    """The decision on an attempt; `problem` is set if it was refused, and then nothing is counted."""

    counted: CountedAttempt
    problem: Problem | None
    #: What the requester has left for this number.
    rate_limit: RateLimitStatus | None
    #: The solution that was spent for it.
    solution: Solution | None = None


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
        self._evaluator = PolicyEvaluator(policy, development=development)
        self._challenges = challenges
        self._entropy = entropy
        self._metrics = metrics
        rules = [rule for rule in policy.rules if rule.label == REQUESTER_LIMIT]
        self._requester_rule = next((r for r in rules if isinstance(r, VelocityRule)), None)
        #: The bucket of a requester's sends to one number; None if no rule denies by it.
        self.requester_limit: RateLimit | None = None
        if (
            (rule := self._requester_rule)
            and rule.over == "deny"
            and policy.mode_of(rule, development=development) == "enforce"
        ):
            self.requester_limit = rule.limit

    def decide(
        self,
        connection: Connection,
        attempt: SendAttempt,
        solution: Solution | None = None,
        *,
        known: Callable[[], bool],
        can_challenge: bool = True,
    ) -> PolicyDecision:
        """Count and evaluate an attempt in the caller's transaction, which must commit either way.

        The parameters are those of `PolicyEvaluator.evaluate`. Raises ChallengeRejected, which must roll
        everything back, if the solution was spent before.
        """
        evaluation = self._evaluator.evaluate(
            connection, attempt, solution, known=known, can_challenge=can_challenge
        )
        counted, refused_by = evaluation.counted, evaluation.refused_by
        self._observe(evaluation)
        rate_limit = self._rate_limit_status(counted.facts)
        if refused_by is None:
            self._store(connection, evaluation)
            solved = evaluation.decided_by is not None
            return PolicyDecision(counted, None, rate_limit, solution if solved else None)
        results = _encode([each for each in evaluation.rules if each.result.verdict != "allow"])
        key = record_refusal(
            connection, refused_by.rule, refused_by.result.verdict, counted.facts, results
        )
        problem = self._problem(attempt, refused_by, rate_limit, key.id)
        return PolicyDecision(counted, problem, rate_limit)

    def _problem(
        self,
        attempt: SendAttempt,
        refused_by: EvaluatedRule,
        rate_limit: RateLimitStatus | None,
        decision: str,
    ) -> Problem:
        rule, result = refused_by.rule, refused_by.result
        if result.verdict == "challenge":
            challenge = self._challenges.create(attempt.number_digest, result.pressure, attempt.at)
            return ChallengeRequired(
                f"{rule.challenge_detail or rule.detail} {CHALLENGE_INSTRUCTION}",
                challenge=challenge,
                decision=decision,
            )
        reason = result.figures.get("reason")
        return rule.denial(
            f"{rule.detail} {reason}" if reason else rule.detail,
            retry_after=result.retry_after,
            rate_limit=rate_limit if rule.label == REQUESTER_LIMIT else None,
            decision=decision,
            **{name: result.figures[name] for name in rule.problem_figures},
        )

    def _rate_limit_status(self, facts: Facts) -> RateLimitStatus | None:
        """Return what the requester has left for the number, if a rule limits that."""
        return self._requester_rule.rate_limit_status(facts) if self._requester_rule else None

    def _observe(self, evaluation: Evaluation) -> None:
        """Count the results and the decision in metrics."""
        refused_by, attempt = evaluation.refused_by, evaluation.attempt
        for each in evaluation.rules:
            if each.result.verdict != "allow":
                self._metrics.rule_results.labels(
                    each.rule.label, each.result.verdict, each.mode
                ).inc()
        verdict = refused_by.result.verdict if refused_by else "allow"
        self._metrics.policy_decisions.labels(verdict).inc()
        if refused_by and not attempt.resend:
            self._metrics.funnel.labels("refused", attempt.country, "none").inc()

    def _store(self, connection: Connection, evaluation: Evaluation) -> None:
        """Store the decision to allow an attempt."""
        attempt = evaluation.attempt
        connection.execute(
            INSERT_DECISION,
            {
                "number_digest": attempt.number_digest,
                "verification_nonce": attempt.verification_nonce,
                "id": self._entropy(16),
                "network": attempt.network,
                "subnet": attempt.subnet,
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
                "rule_results": _encode(evaluation.rules),
                "created_at": attempt.at,
            },
        )

    @staticmethod
    def settle(
        connection: Connection,
        decision: PolicyDecision,
        *,
        paid_micros: int | None,
        keep_velocity: bool = True,
    ) -> None:
        """Correct what was counted, once it is known what was paid; None if nothing was sent.

        keep_velocity: whether a send that did not happen still counts in the requester's buckets.
        """
        if paid_micros is None:
            refund(connection, decision.counted, keep_velocity=keep_velocity)
            if decision.solution and not keep_velocity:
                decision.solution.refund(connection)
        else:
            settle_charges(connection, decision.counted, paid_micros)

    @staticmethod
    def record_verified(
        connection: Connection,
        number_digest: bytes,
        verification_nonce: bytes,
        *,
        prefix: str,
        country: str,
        subnet: bytes | None,
        sends: int,
        started_at: datetime,
        now: datetime,
    ) -> None:
        """Credit a verified verification to its number, prefix, country and subnet."""
        connection.execute(
            UPDATE_VERIFIED, {"digest": number_digest, "nonce": verification_nonce, "now": now}
        )
        remember_proven(connection, number_digest, now)
        keys = traffic.traffic_keys(prefix, country, started_at, subnet)
        traffic.add(connection, keys, verified=sends)

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of decisions whose retention is over."""
        return purge(connection, Decision, Decision.created_at < now - RETENTION)


def _encode(rules: Sequence[EvaluatedRule]) -> str:
    """Return the results of rules as JSON for the tables."""
    return json.dumps(
        [
            {
                "rule": each.rule.label,
                "mode": each.mode,
                "verdict": each.result.verdict,
                **each.result.figures,
            }
            for each in rules
        ],
        separators=(",", ":"),
    )
