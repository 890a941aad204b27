"""Judging: an attempt is counted, every rule says what it finds, and one of them decides.

Owns what is decided. An attempt that is refused leaves nothing counted. Writes no decision down and tells
nobody, so that what happened can be judged again by another policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from verification.policy.challenge import Solution
from verification.policy.counters import Counted, Counters
from verification.policy.facts import Attempt
from verification.policy.file import Policy
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

    counted: Counted
    judged: Sequence[Judged]
    #: The rule that decides; a challenge that was solved stands here too.
    against: Judged | None
    #: The same, when it refuses the attempt.
    refused_by: Judged | None


class Judge:
    """Counts attempts and holds them against the rules of one policy."""

    def __init__(self, policy: Policy, *, development: bool) -> None:
        self.modes = [
            (rule, policy.mode_of(rule, development=development)) for rule in policy.rules
        ]
        self._counters = Counters(policy)

    def judge(
        self, connection: Connection, attempt: Attempt, solution: Solution | None = None
    ) -> Judgement:
        """Count and judge an attempt in the caller's transaction.

        A solution is used up only where it was needed; history that is replayed has none. Raises
        ChallengeRejected, which is to roll everything back, when it was used before.
        """
        savepoint = connection.begin_nested()
        counted = self._counters.count(connection, attempt)
        judged = [Judged(rule, mode, rule.judge(counted.facts)) for rule, mode in self.modes]
        against = refused_by = _decide(judged)
        if against and against.finding.verdict == "challenge" and attempt.solved:
            if solution is not None and not solution.spend(connection):
                raise ChallengeRejected("It was used before; ask again for a new one.")
            refused_by = None
        if refused_by:
            savepoint.rollback()
        else:
            savepoint.commit()
        return Judgement(counted, judged, against, refused_by)


def _decide(judged: Sequence[Judged]) -> Judged | None:
    """Find who decides: the first enforced rule that denies, else the first that challenges."""
    enforced = [each for each in judged if each.mode == "enforce"]
    for verdict in ("deny", "challenge"):
        for each in enforced:
            if each.finding.verdict == verdict:
                return each
    return None
