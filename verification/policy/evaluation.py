"""Evaluation of a policy: an attempt is counted, every rule returns a result, and one rule decides.

What a refused attempt counted is rolled back; only its subnet's look at a known number stays counted. Nothing
is stored or reported here, so another policy can evaluate recorded attempts again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, NestedTransaction

from verification.policy.challenge import Solution
from verification.policy.counters import (
    CountedAttempt,
    Counters,
    count_known_lookup,
    refund_known_lookup,
)
from verification.policy.facts import SendAttempt
from verification.policy.file import MAX_DIFFICULTY, Policy
from verification.policy.rules import Mode, Rule, RuleResult
from verification.problems import ChallengeRejected


@dataclass(frozen=True)
class EvaluatedRule:
    """A rule, its mode and its result."""

    rule: Rule
    mode: Mode
    result: RuleResult


@dataclass(frozen=True)
class Evaluation:
    """What was counted for an attempt, the result of each rule, and the rule that decides."""

    #: The attempt as counted; `reserve` is set if the reserve of a budget paid for it.
    attempt: SendAttempt
    counted: CountedAttempt
    rules: Sequence[EvaluatedRule]
    #: The rule that decided, also one whose challenge was solved; None if no rule objected.
    decided_by: EvaluatedRule | None
    #: The deciding rule if the attempt is refused, with the verdict and the difficulty that apply.
    refused_by: EvaluatedRule | None


@dataclass(frozen=True)
class _Trial:
    """An attempt counted within a savepoint."""

    savepoint: NestedTransaction
    counted: CountedAttempt
    rules: Sequence[EvaluatedRule]


class PolicyEvaluator:
    """Counts attempts and evaluates the rules of one policy."""

    def __init__(self, policy: Policy, *, development: bool) -> None:
        self._modes = [
            (rule, policy.mode_of(rule, development=development)) for rule in policy.rules
        ]
        self._counters = Counters(policy)

    def evaluate(
        self,
        connection: Connection,
        attempt: SendAttempt,
        solution: Solution | None = None,
        *,
        known: Callable[[], bool] = lambda: False,
        can_challenge: bool = True,
    ) -> Evaluation:
        """Count and evaluate an attempt in the caller's transaction.

        known: whether the number has an account or was verified before; called only if that decides.
        can_challenge: whether the caller's protocol can carry a challenge. If not, known numbers skip limits
        that others can fill. A solution is used up unless no rule objected or a challenge is still due;
        replayed history has none. Raises ChallengeRejected if it was used before; the caller must roll back.
        """
        trial = self._count(connection, attempt)
        decider = _decider(trial.rules)
        if decider is None:
            return _allow(attempt, trial, None)
        denied = decider.result.verdict == "deny"
        if denied and not decider.rule.exempts_known_numbers:
            return _refuse(attempt, trial, decider)
        if can_challenge:
            pressure = MAX_DIFFICULTY if denied else _challenge_pressure(trial.rules)
            if not attempt.solved or (solution and not solution.suffices(pressure)):
                # Challenge first, or anyone could find out for free which numbers are known.
                return _refuse(attempt, trial, _as_challenge(decider, pressure))
            if not denied:
                _spend(connection, solution)
                return _allow(attempt, trial, decider)
        elif requester_rule := _requester_rule(trial.rules):
            # Known and unknown numbers alike: a client could fill its own limits and test any number.
            return _refuse(attempt, trial, requester_rule)
        refused = _refuse(attempt, trial, decider)
        # Used up whatever the result, or one solution could test all numbers.
        _spend(connection, solution)
        if not count_known_lookup(connection, attempt) or not known():
            return refused
        # Others filled the shared limits: count the attempt again, from the reserve.
        reserved = replace(attempt, reserve=True)
        trial = self._count(connection, reserved)
        objection = _decider(trial.rules)
        if objection and objection.result.verdict == "deny":
            # Answer as for an unknown number; otherwise an empty reserve would reveal known ones.
            trial.savepoint.rollback()
            return refused
        refund_known_lookup(connection, attempt)
        return _allow(reserved, trial, decider)

    def _count(self, connection: Connection, attempt: SendAttempt) -> _Trial:
        savepoint = connection.begin_nested()
        counted = self._counters.count(connection, attempt)
        rules = [
            EvaluatedRule(rule, mode, rule.evaluate(counted.facts)) for rule, mode in self._modes
        ]
        return _Trial(savepoint, counted, rules)


def _allow(attempt: SendAttempt, trial: _Trial, decider: EvaluatedRule | None) -> Evaluation:
    trial.savepoint.commit()
    return Evaluation(attempt, trial.counted, trial.rules, decider, None)


def _refuse(attempt: SendAttempt, trial: _Trial, decider: EvaluatedRule) -> Evaluation:
    trial.savepoint.rollback()
    return Evaluation(attempt, trial.counted, trial.rules, decider, decider)


def _spend(connection: Connection, solution: Solution | None) -> None:
    if solution is not None and not solution.spend(connection):
        raise ChallengeRejected("The solution was already used. Request a new challenge.")


def _enforced(rules: Sequence[EvaluatedRule], *verdicts: str) -> list[EvaluatedRule]:
    return [rule for rule in rules if rule.mode == "enforce" and rule.result.verdict in verdicts]


def _requester_rule(rules: Sequence[EvaluatedRule]) -> EvaluatedRule | None:
    """Return the first rule that objects and whose limit only the requester's own network fills."""
    objecting = _enforced(rules, "deny", "challenge")
    return next((rule for rule in objecting if rule.rule.limits_requester), None)


def _as_challenge(decider: EvaluatedRule, pressure: float) -> EvaluatedRule:
    return replace(decider, result=replace(decider.result, verdict="challenge", pressure=pressure))


def _challenge_pressure(rules: Sequence[EvaluatedRule]) -> float:
    """Return the pressure of the rule that is furthest over its limit."""
    return max(rule.result.pressure for rule in _enforced(rules, "challenge"))


def _decider(rules: Sequence[EvaluatedRule]) -> EvaluatedRule | None:
    """Return the first enforced rule that denies, else the first that challenges.

    A denial without an exemption for known numbers comes before one with it.
    """
    denying = _enforced(rules, "deny")
    strict = [rule for rule in denying if not rule.rule.exempts_known_numbers]
    return next(iter(strict + denying + _enforced(rules, "challenge")), None)
