"""Evaluation of a policy: an attempt is counted, every rule returns a result, and one rule decides.

A refused attempt leaves nothing counted except its network's question whether a number is known. Nothing is
stored or reported here, so recorded attempts can be evaluated again by another policy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, NestedTransaction

from verification.policy.challenge import Solution
from verification.policy.counters import (
    CountedAttempt,
    Counters,
    count_question,
    refund_question,
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

    #: As counted: from the reserve of budgets, if only that lets it pass.
    attempt: SendAttempt
    counted: CountedAttempt
    rules: Sequence[EvaluatedRule]
    #: The deciding rule; also one whose challenge was solved.
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
        can_challenge: whether the caller's protocol can carry a challenge. If it cannot, known numbers pass
        the limits that strangers fill without one. A solution is spent only where it was needed; replayed
        history has none. Raises ChallengeRejected, which must roll everything back, if it was spent before.
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
                # Challenge before looking up whether the number is known: that must not be free to learn.
                return _refuse(attempt, trial, _as_challenge(decider, pressure))
            if not denied:
                _spend(connection, solution)
                return _allow(attempt, trial, decider)
        elif own := _requester_rule(trial.rules):
            # Otherwise a client that fills its own network's limits could test any number.
            return _refuse(attempt, trial, own)
        refused = _refuse(attempt, trial, decider)
        # Spent whatever the result, or one solution could test all numbers.
        _spend(connection, solution)
        if not count_question(connection, attempt) or not known():
            return refused
        # Strangers filled the limits in its way: count it again, from the reserve.
        reserved = replace(attempt, reserve=True)
        trial = self._count(connection, reserved)
        denying = _decider(trial.rules)
        if denying and denying.result.verdict == "deny":
            # Answered as an unknown number, or an empty reserve would reveal every known one for free.
            trial.savepoint.rollback()
            return refused
        refund_question(connection, attempt)
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
        raise ChallengeRejected("It was used before; ask again for a new one.")


def _enforced(rules: Sequence[EvaluatedRule], *verdicts: str) -> list[EvaluatedRule]:
    return [each for each in rules if each.mode == "enforce" and each.result.verdict in verdicts]


def _requester_rule(rules: Sequence[EvaluatedRule]) -> EvaluatedRule | None:
    """Return the first rule against it whose limit only the requester, or its network, has filled."""
    against = _enforced(rules, "deny", "challenge")
    return next((each for each in against if each.rule.limits_requester), None)


def _as_challenge(decider: EvaluatedRule, pressure: float) -> EvaluatedRule:
    return replace(decider, result=replace(decider.result, verdict="challenge", pressure=pressure))


def _challenge_pressure(rules: Sequence[EvaluatedRule]) -> float:
    """Return the pressure of the rule that is furthest over its limit."""
    return max(each.result.pressure for each in _enforced(rules, "challenge"))


def _decider(rules: Sequence[EvaluatedRule]) -> EvaluatedRule | None:
    """Return the first enforced rule that denies, else the first that challenges.

    A denial without an exemption for known numbers comes before one with it.
    """
    denying = _enforced(rules, "deny")
    strict = [each for each in denying if not each.rule.exempts_known_numbers]
    return next(iter(strict + denying + _enforced(rules, "challenge")), None)
