"""`python -m bench.routing`: a simulated day of sends through the real router, beside other ways to choose.

The simulated world has people of several countries and three providers; every way of choosing gets the same
random numbers. Nothing is timed, so the output does not depend on the machine.
"""

import heapq
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, Literal, NamedTuple, get_args

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import event

from bench import databases
from core import logs
from core.database import Database
from core.metrics import Metrics
from settings import Settings
from sms.delivery import DeliveryService
from sms.metrics import SmsMetrics
from sms.provider import BOTH, SmsMessage, Unavailable
from sms.routing import Router, doublings
from sms.routing_file import Prices, Routing, RoutingParameters, load_routing
from sms.service import SendService

Death = Literal["silent", "refuses"]

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
#: Price of a text in units of the currency.
PRICES = {"good": 0.08, "fair": 0.04, "dying": 0.05}
#: Share of a day's people, and of those who verify if a provider that is well sends to them.
COUNTRIES: dict[str, tuple[float, dict[str, float]]] = {
    "DE": (0.40, {"good": 0.88, "fair": 0.76, "dying": 0.86}),
    "US": (0.30, {"good": 0.84, "fair": 0.81, "dying": 0.80}),
    "IN": (0.20, {"good": 0.72, "fair": 0.62, "dying": 0.74}),
    "BR": (0.08, {"good": 0.80, "fair": 0.77, "dying": 0.70}),
    "KE": (0.02, {"good": 0.82, "fair": 0.60, "dying": 0.81}),
}
#: Seconds from a text to its code: log-normal, half within the first, 98.6 % within three minutes.
MEDIAN_SECONDS, SPREAD = 20.0, 1.0


class Person(NamedTuple):
    """Someone who asks for a code; her luck decides whether she verifies, whoever sends."""

    at: datetime
    country: str
    luck: float
    seconds: float


@dataclass
class Tally:
    """What one way of choosing came to."""

    people: int = 0
    verified: int = 0
    cost: float = 0.0
    utility: float = 0.0
    sends: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PRICES, 0))

    @property
    def share(self) -> float:
        """The share of people who verified."""
        return self.verified / self.people

    @property
    def each(self) -> float:
        """What a verified number cost."""
        return self.cost / self.verified if self.verified else math.inf

    def add(self, provider: str | None, verified: bool, margin: float) -> None:
        """Count a person, and who sent to her, if anyone did."""
        self.people += 1
        self.verified += verified
        if provider is not None:
            self.cost += PRICES[provider]
            self.sends[provider] += 1
            self.utility += utility(provider, verified, margin)

    def merge(self, other: "Tally") -> None:
        """Count what another counted too."""
        self.people += other.people
        self.verified += other.verified
        self.cost += other.cost
        self.utility += other.utility
        for provider, sends in other.sends.items():
            self.sends[provider] += sends


def utility(provider: str, verified: bool, margin: float) -> float:
    """Weigh one send as the router does."""
    doubled = doublings(round(PRICES[provider] * 1e6), round(min(PRICES.values()) * 1e6))
    return verified - margin * doubled


def crowd(random: Random, size: int) -> list[Person]:
    """Draw a day's people in order: most in the evening, fewest at four in the morning."""
    names = list(COUNTRIES)
    shares = [COUNTRIES[name][0] for name in names]
    people = []
    while len(people) < size:
        hour = random.uniform(0, 24)
        busy = 0.55 + 0.45 * math.cos((hour - 18) / 24 * 2 * math.pi)
        if random.random() < busy:
            people.append(
                Person(
                    MIDNIGHT + timedelta(hours=hour),
                    random.choices(names, shares)[0],
                    random.random(),
                    random.lognormvariate(math.log(MEDIAN_SECONDS), SPREAD),
                )
            )
    return sorted(people)


def verifies(person: Person, provider: str) -> bool:
    """Say whether a text by this provider makes her verify."""
    dead = provider == "dying" and person.at >= NOON
    return not dead and person.luck < COUNTRIES[person.country][1][provider]


class Simulated:
    """A provider that takes whatever it is given, or after its death refuses it."""

    channels = BOTH

    def __init__(self, name: str, clock: Callable[[], datetime], death: Death) -> None:
        self.name = name
        self._clock = clock
        self._refuses = name == "dying" and death == "refuses"

    def send(self, message: SmsMessage) -> str:
        """Take a message."""
        if self._refuses and self._clock() >= NOON:
            raise Unavailable("dead")
        return message.reference


class Now:
    """The simulated time."""

    def __init__(self) -> None:
        self.moment = MIDNIGHT

    def __call__(self) -> datetime:
        """Give it."""
        return self.moment


def by_router(
    people: Iterable[Person], choice: RoutingParameters, death: Death, seed: int
) -> Tally:
    """Let the service choose, send, fail over and learn, event by event; only the day is tallied.

    It begins with an empty table, so people of the day before are what it has to learn from.
    """
    with (
        tempfile.TemporaryDirectory(prefix="kith-bench-") as directory,
        databases.fresh("sqlite", Path(directory)) as url,
        closing(Database(url)) as database,
    ):
        event.listen(database.engine, "connect", _forget_durability)
        return _by_router(people, choice, death, seed, database)


def _by_router(
    people: Iterable[Person], choice: RoutingParameters, death: Death, seed: int, database: Database
) -> Tally:
    now, tally, dice = Now(), Tally(), Random(seed)
    providers = [Simulated(name, now, death) for name in PRICES]
    metrics = SmsMetrics(Metrics())
    deliveries = DeliveryService(database, now, metrics)
    router = Router(_routing(choice), providers, now, dice.randbytes)
    sends = SendService(database, providers, router, deliveries, now, dice.randbytes, metrics, 20.0)
    waiting: list[tuple[datetime, bytes]] = []

    def pass_time(until: datetime) -> None:
        while waiting and waiting[0][0] <= until:
            now.moment, digest = heapq.heappop(waiting)
            with database.write() as connection:
                sends.verified(connection, digest, digest)
        now.moment = until

    for number, person in enumerate(people):
        pass_time(person.at)
        digest = number.to_bytes(16, "big")
        with database.write() as connection:
            queued = sends.queue(
                connection,
                sends.route(connection, person.country, "sms"),
                number_digest=digest,
                verification_nonce=digest,
                prefix="",
                first=True,
            )
        delivered = sends.deliver(queued, to="+10000000000", body="", language="en")
        with database.write() as connection:
            sends.record(connection, delivered)
        took = None if delivered.failure else delivered.provider
        verified = took is not None and verifies(person, took)
        if person.at >= MIDNIGHT:
            tally.add(took, verified, choice.margin)
        if verified:
            heapq.heappush(waiting, (person.at + timedelta(seconds=person.seconds), digest))
    return tally


def _routing(choice: RoutingParameters) -> Routing:
    prices = {name: Prices(sms={"default": price}) for name, price in PRICES.items()}
    default = load_routing(Settings(), ())
    return default.model_copy(update={"choice": choice, "prices": default.prices | prices})


def _forget_durability(connection: Any, _: Any) -> None:
    # The file is thrown away after the run.
    connection.execute("PRAGMA synchronous = OFF")


def alone(people: Iterable[Person], provider: str, death: Death, margin: float) -> Tally:
    """Let one provider send to everyone."""
    tally = Tally()
    for person in people:
        refused = death == "refuses" and provider == "dying" and person.at >= NOON
        tally.add(None if refused else provider, verifies(person, provider), margin)
    return tally


def in_turn(people: Iterable[Person], death: Death, margin: float) -> Tally:
    """Let them send in turn; whom one refuses, the next in turn takes."""
    tally, names = Tally(), list(PRICES)
    for number, person in enumerate(people):
        provider = names[number % len(names)]
        if death == "refuses" and provider == "dying" and person.at >= NOON:
            provider = names[(number + 1) % len(names)]
        tally.add(provider, verifies(person, provider), margin)
    return tally


def in_hindsight(people: list[Person], death: Death, margin: float) -> Tally:
    """Take for each country and half of the day the one provider that had the highest utility in it."""
    best = Tally()
    for half in _halves(people):
        for country in COUNTRIES:
            here = [person for person in half if person.country == country]
            if here:
                best.merge(
                    max(
                        (alone(here, provider, death, margin) for provider in PRICES),
                        key=lambda tally: tally.utility,
                    )
                )
    return best


def _halves(people: list[Person]) -> Iterator[list[Person]]:
    yield [person for person in people if person.at < NOON]
    yield [person for person in people if person.at >= NOON]


def run(
    seeds: int, size: int, choice: RoutingParameters, death: Death, *, yesterday: bool
) -> dict[str, list[Tally]]:
    """Play the day once for each seed, each way."""
    days: dict[str, list[Tally]] = {}
    for seed in range(seeds):
        people = crowd(Random(seed), size)
        before = [
            person._replace(at=person.at - timedelta(days=1))
            for person in crowd(Random(seed + seeds), size)
            if yesterday
        ]
        ways = {
            "router": by_router(before + people, choice, death, seed),
            **{f"{name} alone": alone(people, name, death, choice.margin) for name in PRICES},
            "round robin": in_turn(people, death, choice.margin),
            "best in hindsight": in_hindsight(people, death, choice.margin),
        }
        for way, tally in ways.items():
            days.setdefault(way, []).append(tally)
    return days


def _figures(tallies: list[Tally], best: list[Tally]) -> dict[str, Any]:
    ratios = [one.utility / other.utility for one, other in zip(tallies, best, strict=True)]
    shares = [one.share / other.share for one, other in zip(tallies, best, strict=True)]
    people = sum(tally.people for tally in tallies)
    return {
        "verified_share": round(fmean(tally.share for tally in tallies), 4),
        "cost_a_verified_number": round(fmean(tally.each for tally in tallies), 5),
        "verified_of_hindsight": round(fmean(shares), 4),
        "utility_of_hindsight": round(fmean(ratios), 4),
        "worst_seed": round(min(ratios), 4),
        "sends": {
            name: round(sum(tally.sends[name] for tally in tallies) / people, 3) for name in PRICES
        },
    }


def _show(console: Console, death: Death, ways: dict[str, dict[str, Any]]) -> None:
    table = Table(title=f"A day in which a provider dies at noon and then {_THEN[death]}")
    table.add_column("way", min_width=17)
    # Shares of people; a verified number's price; shares of what hindsight has; who sent how much.
    for heading in ("share", "price", "of best", "utility", *PRICES):
        table.add_column(heading, justify="right")
    for way, figures in ways.items():
        table.add_row(
            way,
            f"{figures['verified_share']:.1%}",
            f"{figures['cost_a_verified_number']:.4f}",
            f"{figures['verified_of_hindsight']:.1%}",
            f"{figures['utility_of_hindsight']:.1%}",
            *(f"{figures['sends'][name]:.0%}" for name in PRICES),
        )
    console.print(table)


_THEN = {"silent": "delivers nothing of what it takes", "refuses": "refuses everything"}
_DEFAULT = load_routing(Settings(), ()).choice


@click.command()
@click.option("--seeds", default=5, show_default=True, help="Days that are played.")
@click.option("--people", default=10_000, show_default=True, help="Who ask on a day.")
@click.option("--margin", default=_DEFAULT.margin, show_default=True)
@click.option("--half-life", default=_DEFAULT.half_life_sends, show_default=True, help="In sends.")
@click.option("--patience", default=_DEFAULT.patience_seconds, show_default=True, help="Seconds.")
@click.option("--yesterday/--cold", default=True, help="Whether an ordinary day came before.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(
    seeds: int,
    people: int,
    margin: float,
    half_life: int,
    patience: int,
    yesterday: bool,
    file: Path | None,
) -> None:
    """Compare the router with each provider alone, with taking turns and with hindsight."""
    # A line of the log for each send would drown the tables.
    logs.configure(Settings(log_level="error"))
    choice = RoutingParameters(margin=margin, half_life_sends=half_life, patience_seconds=patience)
    found: dict[str, Any] = {
        "seeds": seeds,
        "people": people,
        "yesterday": yesterday,
        "choice": choice.model_dump(),
        "hindsight": "for each country and half of the day the provider with the highest utility",
    }
    for death in get_args(Death):
        days = run(seeds, people, choice, death, yesterday=yesterday)
        best = days["best in hindsight"]
        found[death] = {way: _figures(tallies, best) for way, tallies in days.items()}
        _show(Console(), death, found[death])
    text = json.dumps(found, indent=2)
    print(text)
    if file:
        file.write_text(text + "\n")


if __name__ == "__main__":
    main()
