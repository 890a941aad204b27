"""Replay: what happened is judged once more, by another policy, with counters of its own.

The counters and the rules are the ones that decide every day, on a database that is thrown away. What
people would have done instead is not guessed: whoever was verified is credited when they were, if what
was sent to them is sent again; whom history refused and the replay does not is sent to and never
verified; who is challenged passes if they solved one then. Refusals were stored by the minute: they are
judged as many times as there were, at the first one's moment, and what they differed in is made up.
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
from verification.policy.counters import settle_money, take_back
from verification.policy.evaluation import Judge
from verification.policy.facts import Attempt
from verification.policy.file import Policy
from verification.policy.history import Past, Refused
from verification.policy.rules import Verdict

#: No verification sends anything, or is verified, longer than this after its start.
LONGEST = timedelta(hours=1)

#: A savepoint that was rolled back to stays open to the end of its transaction, so none is long.
ATTEMPTS_A_TRANSACTION = 50

#: How a person fared who was verified in the end, from the best to the worst.
Fate = Literal["untroubled", "solved", "challenged", "blocked"]
FATES: tuple[Fate, ...] = ("untroubled", "solved", "challenged", "blocked")


class Said(NamedTuple):
    """What was, or is, said of an attempt."""

    verdict: Verdict
    #: The rule that decides; None when none has anything against it.
    rule: str | None
    #: Whether a challenge stood in its way, solved or not.
    challenged: bool

    @property
    def fate(self) -> Fate:
        """Say how it leaves the person who asked."""
        if self.verdict == "deny":
            return "blocked"
        if self.verdict == "challenge":
            return "challenged"
        return "solved" if self.challenged else "untroubled"


class Opinion(Protocol):
    """Says of each attempt in turn whether it is sent."""

    def say(self, past: Past) -> Said:
        """Judge an attempt, and count it."""

    def say_of(self, refused: Refused) -> Iterable[tuple[Said, int]]:
        """Judge what was refused in a minute; give each thing that is said, and of how many."""

    def credit(self, first: Attempt, sends: int) -> None:
        """Take that a verification is verified, for which so much was sent."""


class Then:
    """What was decided when it happened."""

    def say(self, past: Past) -> Said:
        """Repeat what was said. Who solved a challenge was asked to."""
        challenged = past.verdict == "challenge" or past.attempt.solved
        return Said(past.verdict, past.rule, challenged)

    def say_of(self, refused: Refused) -> Iterable[tuple[Said, int]]:
        """Repeat what was said of all of them."""
        said = Said(refused.verdict, refused.rule, refused.verdict == "challenge")
        return [(said, refused.count)]

    def credit(self, first: Attempt, sends: int) -> None:
        """Learn nothing from it."""


class Again:
    """What a policy says, in the modes of production, by what it has let through itself."""

    def __init__(self, policy: Policy, connection: Connection) -> None:
        self._judge = Judge(policy, development=False)
        self._connection = connection
        self._judged = 0
        #: Numbers that were verified, as far as history is replayed.
        self._proven: set[bytes] = set()

    def say(self, past: Past) -> Said:
        """Count and judge it, and settle it as it was settled then."""
        self._judged += 1
        if self._judged % ATTEMPTS_A_TRANSACTION == 0:
            self._connection.commit()
        attempt = past.attempt
        judgement = self._judge.judge(
            self._connection,
            replace(attempt, reserve=False),
            known=lambda: attempt.reserve or attempt.number_digest in self._proven,
            # Of doors that carry no challenge only those of services can be told by what is stored.
            asks=attempt.wider is not None,
        )
        against, refused_by = judgement.against, judgement.refused_by
        if refused_by is None and past.verdict == "allow":
            if past.paid_micros is None:
                # Which failure it was is not kept; a rejected number counts as asked for.
                take_back(self._connection, judgement.counted, velocity=True)
            else:
                settle_money(self._connection, judgement.counted, past.paid_micros)
        return Said(
            refused_by.finding.verdict if refused_by else "allow",
            against.rule.label if against else None,
            against is not None and against.finding.verdict == "challenge",
        )

    def say_of(self, refused: Refused) -> Iterable[tuple[Said, int]]:
        """Judge one after the other until one is refused: what is refused changes nothing for the next."""
        said: Counter[Said] = Counter()
        kinds = ((True, range(refused.solved)), (False, range(refused.solved, refused.count)))
        for solved, places in kinds:
            for place in places:
                attempt = refused.attempt(place, solved=solved)
                one = self.say(Past(attempt, refused.verdict, refused.rule, attempt.price_micros))
                if one.verdict != "allow":
                    said[one] += places.stop - place
                    break
                said[one] += 1
        return said.items()

    def credit(self, first: Attempt, sends: int) -> None:
        """Credit the prefix, the country and the network, and know the number from now on."""
        self._proven.add(first.number_digest)
        cells = traffic.cells_of(first.prefix, first.country, first.at, first.wider)
        traffic.add(self._connection, cells, verified=sends)


@dataclass
class Figures:
    """What is compared; everything counts attempts, but for money and people."""

    attempts: int = 0
    sends: int = 0
    #: Let through, and for certain not sent by any provider.
    failed: int = 0
    #: Asked for a challenge and not let through.
    challenged: int = 0
    #: Let through because a challenge was solved.
    solved: int = 0
    blocked: int = 0
    #: Resends of verifications that would not have begun.
    unasked: int = 0
    #: Millionths of the currency.
    money_micros: int = 0
    #: Verified people, by how they fared at the worst of what was sent to them.
    people: Counter[Fate] = field(default_factory=Counter)
    #: What was challenged or blocked, by the rule that decided.
    rules: Counter[str] = field(default_factory=Counter)

    def count(self, said: Said, paid_micros: int | None, times: int = 1) -> None:
        """Count attempts, each of which costs so much if it is sent; None: no provider takes it."""
        self.attempts += times
        if said.verdict != "allow":
            self.rules[f"{said.rule} {said.verdict}"] += times
            if said.verdict == "deny":
                self.blocked += times
            else:
                self.challenged += times
            return
        self.solved += said.challenged * times
        if paid_micros is None:
            self.failed += times
        else:
            self.sends += times
            self.money_micros += paid_micros * times

    def document(self) -> dict[str, Any]:
        """Give the figures as JSON has them."""
        return vars(self) | {
            "people": {fate: self.people[fate] for fate in FATES},
            "rules": dict(sorted(self.rules.items())),
        }


@dataclass
class _Run:
    """A verification while it may still send or be verified."""

    first: Attempt
    begun: bool = True
    sends: int = 0
    worst: Fate = "untroubled"


class Column:
    """One opinion of the whole history, and its figures of what happened at `since` and after."""

    def __init__(self, opinion: Opinion, since: datetime) -> None:
        self.figures = Figures()
        self._opinion = opinion
        self._since = since
        #: In the order of their starts, so that the oldest are forgotten first.
        self._runs: dict[bytes, _Run] = {}
        #: When each will be verified; the number keeps apart those of the same moment.
        self._verified: list[tuple[datetime, int, _Run]] = []
        self._numbers = count()

    def take(self, past: Past | Refused) -> None:
        """Take the next attempt, or a minute of refused ones; they come in the order of time."""
        if isinstance(past, Refused):
            self._take_refused(past)
        else:
            self._take(past)

    def _take_refused(self, refused: Refused) -> None:
        self._advance(refused.first.at)
        for said, times in self._opinion.say_of(refused):
            if refused.first.at >= self._since:
                self.figures.count(said, refused.first.price_micros, times)

    def _take(self, past: Past) -> None:
        attempt = past.attempt
        self._advance(attempt.at)
        key = attempt.number_digest + attempt.verification
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = _Run(attempt)
            if past.verified_at:
                heappush(self._verified, (past.verified_at, next(self._numbers), run))
        if not run.begun:
            if attempt.at >= self._since:
                self.figures.attempts += 1
                self.figures.unasked += 1
            return
        said = self._opinion.say(past)
        run.begun = attempt.resend or said.verdict == "allow"
        run.sends += said.verdict == "allow" and past.paid_micros is not None
        run.worst = max(run.worst, said.fate, key=FATES.index)
        if attempt.at >= self._since:
            self.figures.count(said, past.paid_micros)

    def end(self) -> None:
        """Take what is still to be verified."""
        self._advance(datetime.max.replace(tzinfo=self._since.tzinfo))

    def _advance(self, now: datetime) -> None:
        while self._verified and self._verified[0][0] <= now:
            *_, run = heappop(self._verified)
            if run.first.at >= self._since:
                self.figures.people[run.worst] += 1
            if run.sends:
                self._opinion.credit(run.first, run.sends)
        while self._runs:
            key, run = next(iter(self._runs.items()))
            if run.first.at > now - LONGEST:
                return
            del self._runs[key]


def replay(history: Iterable[Past | Refused], columns: Sequence[Column]) -> None:
    """Let every column take all of history."""
    for past in history:
        for column in columns:
            column.take(past)
    for column in columns:
        column.end()
