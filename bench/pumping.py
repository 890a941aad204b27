"""`python -m bench.pumping`: a day of honest sign-ups with three pumping attacks in it, under three policies.

Then three lockouts: a stranger fills a prefix, a network and a country, and owners ask for codes. The
counters and the rules are the product's own, on a scratch database; the people, the attackers and the
owners are simulated (bench/pumping_world.py, bench/lockouts.py). Nothing is timed; what is printed does not
depend on the machine.
"""

import heapq
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, cast

import click
from rich.console import Console
from sqlalchemy import Connection

from bench.lockouts import LOCKOUTS, OWNING, lockout
from bench.pumping_report import Fate, Side, document, lockout_document, show, show_lockouts
from bench.pumping_world import (
    ATTACKS,
    COUNTRIES,
    Ask,
    attackers,
    digest,
    earlier_days,
    moment,
    people,
)
from core.database import table
from verification.policy import traffic
from verification.policy.evaluation import PolicyEvaluator
from verification.policy.facts import SendAttempt
from verification.policy.file import Policy, load_policy
from verification.policy.models import Traffic
from verification.policy.rules import MICROS, VelocityRule
from verification.policy.temporary_database import temporary_database

HISTORY_DAYS = 14
#: Savepoints that were rolled back to pile up in a transaction.
EVENTS_A_TRANSACTION = 50


class Variant(NamedTuple):
    """One way to decide, and what the attackers do when they are challenged."""

    name: str
    policy: Policy
    attackers_solve: bool = False


def variants(default: Policy) -> Iterator[Variant]:
    """List what is compared."""
    flat = VelocityRule.model_construct(
        rule="velocity", of="number", sends=5, period=timedelta(days=1), over="deny"
    )
    yield Variant("no policy", default.model_copy(update={"rules": ()}))
    yield Variant("flat 5 a number", default.model_copy(update={"rules": (flat,)}))
    yield Variant("default", default)
    yield Variant("default, attackers solve", default, attackers_solve=True)


class Day:
    """One simulated day under one policy."""

    def __init__(
        self,
        variant: Variant,
        connection: Connection,
        seed: int,
        asks: Iterable[Sequence[Ask]],
        honest: Sequence[str],
    ) -> None:
        self._evaluator = PolicyEvaluator(variant.policy, development=False)
        self._solves = variant.attackers_solve
        self._connection = connection
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Any]] = []
        self._honest = honest
        self.sides: dict[str, Side] = {}
        _fill(connection, Random(seed + 1))
        for each in asks:
            self._push(each[0].at, each)

    def _push(self, at: float, event: Any) -> None:
        heapq.heappush(self._queue, (at, next(self._order), event))

    def run(self) -> None:
        """Let the day pass."""
        for passed in itertools.count(1):
            if not self._queue:
                return
            if passed % EVENTS_A_TRANSACTION == 0:
                self._connection.commit()
            _, _, event = heapq.heappop(self._queue)
            if isinstance(event, Ask):
                self._verify(event)
            else:
                self._ask(event)

    def _ask(self, asks: list[Ask]) -> None:
        ask, *later = asks
        honest = ask.side in self._honest
        side = self.sides.setdefault(ask.side, Side())
        side.asked += 1
        verdict = self._evaluate(ask, solved=False)
        if verdict == "challenge" and not ask.can_challenge:
            verdict = "deny"
        if honest:
            self._note(side, ask, verdict)
        if verdict == "challenge" and (self._solves or honest):
            verdict = self._evaluate(ask, solved=True)
            if honest:
                self._note(side, ask, verdict)
        if verdict != "allow":
            return
        side.sent += 1
        side.money_micros += _price(ask)
        if ask.verifies_after is not None:
            self._push(ask.at + ask.verifies_after, ask)
        elif later:
            self._push(later[0].at, later)

    @staticmethod
    def _note(side: Side, ask: Ask, verdict: str) -> None:
        order: list[Fate] = ["untroubled", "challenged", "blocked"]
        fate: Fate = {"deny": order[2], "challenge": order[1]}.get(verdict, order[0])
        worst = side.fates.get(ask.number, order[0])
        side.fates[ask.number] = max(worst, fate, key=order.index)

    def _evaluate(self, ask: Ask, *, solved: bool) -> str:
        attempt = SendAttempt(
            number_digest=digest(ask.prefix, ask.number),
            verification_nonce=bytes(16),
            network=ask.network,
            subnet=ask.subnet,
            country=ask.country,
            prefix=ask.prefix,
            number_type="mobile",
            channel="sms",
            resend=ask.resend,
            solved=solved,
            at=moment(ask.at),
        )
        priced = replace(attempt, price_micros=_price(ask))
        refused = self._evaluator.evaluate(
            self._connection, priced, known=lambda: ask.known, can_challenge=ask.can_challenge
        ).refused_by
        return refused.result.verdict if refused else "allow"

    def _verify(self, ask: Ask) -> None:
        cells = traffic.traffic_keys(ask.prefix, ask.country, moment(ask.at), ask.subnet)
        traffic.add(self._connection, cells, verified=1)


def _price(ask: Ask) -> int:
    return round(COUNTRIES[ask.country].price * MICROS)


def _fill(connection: Connection, random: Random) -> None:
    """Write down what the days before sent and verified, as if the service had run then."""
    counts = earlier_days(random, HISTORY_DAYS)
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    for (scope, span, start, which), count in counts.items():
        row = rows.setdefault(
            (scope, span, start),
            {"scope": scope, "span": span, "start": start, "sends": 0, "verified": 0},
        )
        row[which] = count
    connection.execute(table(Traffic).insert(), list(rows.values()))


def simulate(variant: Variant, seed: int) -> dict[str, Side]:
    """Run a day under a policy on a database that is thrown away."""
    random = Random(seed)
    asks: list[Sequence[Ask]] = [person.asks for person in people(random)]
    asks += [[ask] for attack in ATTACKS for ask in attackers(random, attack)]
    return _run(variant, seed, asks, ["people"])


def lock_out(policy: Policy, seed: int) -> dict[str, dict[str, Side]]:
    """Run each lockout, by a stranger who solves every challenge, on a database of its own."""
    variant = Variant("default, attackers solve", policy, attackers_solve=True)
    return {name: _run(variant, seed, lockout(Random(seed), name), OWNING) for name in LOCKOUTS}


def _run(
    variant: Variant, seed: int, asks: Iterable[Sequence[Ask]], honest: Sequence[str]
) -> dict[str, Side]:
    with temporary_database() as connection:
        day = Day(variant, connection, seed, asks, honest)
        day.run()
    return day.sides


@click.command()
@click.option("--seed", default=1, show_default=True, help="Other dice.")
@click.option(
    "--policy", type=click.Path(path_type=Path), help="A policy file instead of the default."
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(seed: int, policy: Path | None, file: Path | None) -> None:
    """Play a day of sign-ups and three pumping attacks under no policy, a flat limit and the default; then
    three lockouts under the default.
    """
    progress = Console(stderr=True)
    results = {}
    for variant in variants(load_policy(policy)):
        progress.print(f"… {variant.name}", style="dim")
        results[variant.name] = simulate(cast(Variant, variant), seed)
    progress.print("… lockouts", style="dim")
    locked = lock_out(load_policy(policy), seed)
    text = json.dumps(document(results) | {"lockouts": lockout_document(locked)}, indent=2)
    show(Console(width=130), results)
    show_lockouts(Console(width=130), locked)
    print(text)
    if file:
        file.write_text(text + "\n")


if __name__ == "__main__":
    main()
