"""Judging: an attempt is counted, every rule says what it finds, and one of them decides.

An attempt that is refused leaves nothing counted, but that its network asked whether a number is known.
Writes no decision down and tells nobody, so that what happened can be judged again by another policy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, NestedTransaction

from verification.policy.challenge import Solution
from verification.policy.counters import Counted, Counters, may_ask, was_known
from verification.policy.facts import Attempt
from verification.policy.file import MAX_DIFFICULTY, Policy
from verification.policy.rules import Finding, Mode, Rule
from verification.problems import ChallengeRejected


@dataclass(frozen=True)
class Judged:
    """One rule's finding, and the mode it was made in."""

    rule: Rule
    mode: Mode
    finding: Finding


@dataclass(frozen=True)
class Judgement:
    """What was counted for an attempt, what each rule said, and whose word counts."""

    #: As it was counted: from the reserve of budgets, if only that lets it pass.
    attempt: Attempt
    counted: Counted
    judged: Sequence[Judged]
    #: The rule that decides; a challenge that was solved stands here too.
    against: Judged | None
    #: The same, when it refuses the attempt; its finding is what is to be done, and how hard.
    refused_by: Judged | None


@dataclass(frozen=True)
class _Count:
    """An attempt that is counted within a savepoint."""

    savepoint: NestedTransaction
    counted: Counted
    judged: Sequence[Judged]


def _nobody_knows() -> bool:
    return False


class Judge:
    """Counts attempts and holds them against the rules of one policy."""

    def __init__(self, policy: Policy, *, development: bool) -> None:
        self.modes = [
            (rule, policy.mode_of(rule, development=development)) for rule in policy.rules
        ]
        self._counters = Counters(policy)

    def judge(
        self,
        connection: Connection,
        attempt: Attempt,
        solution: Solution | None = None,
        *,
        known: Callable[[], bool] = _nobody_knows,
        asks: bool = True,
    ) -> Judgement:
        """Count and judge an attempt in the caller's transaction.

        known: whether the number has an account or was verified before; asked only when that decides.
        asks: whether the door can carry a challenge; at one that cannot, known numbers need none for what
        strangers filled. A solution is used up only where it was needed; history that is replayed has none.
        Raises ChallengeRejected, which is to roll everything back, when it was used before.
        """
        tried = self._count(connection, attempt)
        against = _decide(tried.judged)
        if against is None:
            return _passed(attempt, tried, None)
        denied = against.finding.verdict == "deny"
        if denied and not against.rule.spares_known:
            return _refused(attempt, tried, against)
        if asks:
            pressure = MAX_DIFFICULTY if denied else _pressure(tried.judged)
            if not attempt.solved or (solution and not solution.suffices(pressure)):
                # Before it is said whether the number is known: or anybody could ask that for nothing.
                return _refused(attempt, tried, _asking(against, pressure))
            if not denied:
                _spend(connection, solution)
                return _passed(attempt, tried, against)
        elif own := _own(tried.judged):
            # Or who fills their own network's limits would be told of every number whether it is known.
            return _refused(attempt, tried, own)
        refused = _refused(attempt, tried, against)
        # Used up whatever comes of it, or all numbers could be tried with one.
        _spend(connection, solution)
        if not may_ask(connection, attempt) or not known():
            return refused
        # Strangers filled what is in its way: it is counted anew, as one of the known.
        drawing = replace(attempt, reserve=True)
        drawn = self._count(connection, drawing)
        hard = _decide(drawn.judged)
        if hard and hard.finding.verdict == "deny":
            # Answered as one that is not known, or an empty reserve would tell of every number for nothing.
            drawn.savepoint.rollback()
            return refused
        was_known(connection, attempt)
        return _passed(drawing, drawn, against)

    def _count(self, connection: Connection, attempt: Attempt) -> _Count:
        savepoint = connection.begin_nested()
        counted = self._counters.count(connection, attempt)
        judged = [Judged(rule, mode, rule.judge(counted.facts)) for rule, mode in self.modes]
        return _Count(savepoint, counted, judged)


def _passed(attempt: Attempt, tried: _Count, against: Judged | None) -> Judgement:
    tried.savepoint.commit()
    return Judgement(attempt, tried.counted, tried.judged, against, None)


def _refused(attempt: Attempt, tried: _Count, by: Judged) -> Judgement:
    tried.savepoint.rollback()
    return Judgement(attempt, tried.counted, tried.judged, by, by)


def _spend(connection: Connection, solution: Solution | None) -> None:
    if solution is not None and not solution.spend(connection):
        raise ChallengeRejected("It was used before; ask again for a new one.")


def _own(judged: Sequence[Judged]) -> Judged | None:
    """Find what is against it that nobody but the requester, or their network, has filled."""
    return next(
        (
            each
            for each in judged
            if each.mode == "enforce" and each.rule.of_requester and each.finding.verdict != "allow"
        ),
        None,
    )


def _asking(decided: Judged, pressure: float) -> Judged:
    """Give a finding as one that asks for work."""
    return replace(
        decided, finding=replace(decided.finding, verdict="challenge", pressure=pressure)
    )


def _pressure(judged: Sequence[Judged]) -> float:
    """Say how hard the work is to be: as hard as the rule that is furthest over its limit has it."""
    return max(
        each.finding.pressure
        for each in judged
        if each.mode == "enforce" and each.finding.verdict == "challenge"
    )


def _decide(judged: Sequence[Judged]) -> Judged | None:
    """Find who decides: the first enforced rule that denies, else the first that challenges.

    Of those that deny, one that nobody gets past comes first.
    """
    enforced = [each for each in judged if each.mode == "enforce"]
    denying = [each for each in enforced if each.finding.verdict == "deny"]
    asking = [each for each in enforced if each.finding.verdict == "challenge"]
    for each in denying:
        if not each.rule.spares_known:
            return each
    return next(iter(denying + asking), None)
