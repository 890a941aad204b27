"""The router: pins, channels, what it learns from first sends, and what prices weigh."""

import os
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from random import Random

import pytest

from core.database import Database
from settings import Settings
from sms import outcomes
from sms.outcomes import ConversionEvidence, SlotOutcome, slot_of, weigh
from sms.problems import SendUnavailable
from sms.provider import BOTH, Channel, Provider
from sms.routing import Candidate, Router, doublings, rank
from sms.routing_file import Routing, RoutingParameters, load_routing
from tests.conftest import Clock
from tests.scripted import Scripted

CHOICE = RoutingParameters(margin=0.05, half_life_sends=100, patience_seconds=180)
TEXTS: frozenset[Channel] = frozenset({"sms"})
DRAWS = 2000


def routing(*providers: Provider, pins: dict[str, tuple[str, ...]] | None = None) -> Routing:
    """The default file with these pins."""
    default = load_routing(Settings(), [provider.name for provider in providers])
    return default.model_copy(update={"pins": pins or {}, "choice": CHOICE})


class Routes:
    """A router on a database."""

    def __init__(self, database: Database, clock: Clock, *providers: Scripted, **pins: str) -> None:
        self.database = database
        self.clock = clock
        seeds = count()
        split = {country: tuple(names.split()) for country, names in pins.items()}
        self.router = Router(
            routing(*providers, pins=split),
            providers,
            clock,
            lambda size: next(seeds).to_bytes(size, "big"),
        )

    def order(self, country: str = "DE", channel: Channel = "sms") -> list[str]:
        """Say who is tried, in which order."""
        with self.database.read() as connection:
            route = self.router.route(connection, country, channel)
        return [candidate.provider for candidate in route.candidates]

    def firsts(self, country: str = "DE", channel: Channel = "sms") -> Counter[str]:
        """Ask for many routes, and count who comes first."""
        return Counter(self.order(country, channel)[0] for _ in range(100))

    def happened(
        self, provider: str, sends: int, verified: int, country: str = "DE", **ago: float
    ) -> None:
        """Note what came of sends that began some time ago."""
        began = self.clock() - timedelta(**ago)
        with self.database.write() as connection:
            outcomes.add(
                connection, country, "sms", provider, began, sends=sends, verified=verified
            )


def test_a_pin(database: Database, clock: Clock) -> None:
    """Whom an operator pinned is tried in her order, and nobody else, whatever was seen."""
    routes = Routes(database, clock, Scripted("a"), Scripted("b"), Scripted("c"), DE="c a")
    routes.happened("c", 1000, 0, hours=1)
    assert routes.order("DE") == ["c", "a"]
    assert sorted(routes.order("FR")) == ["a", "b", "c"]


def test_who_lacks_the_channel(database: Database, clock: Clock) -> None:
    """She who cannot call is not asked to; when nobody can it is refused, and says what can be done."""
    routes = Routes(
        database, clock, Scripted("a", TEXTS), Scripted("b", BOTH), Scripted("c", TEXTS), FR="a c"
    )
    assert routes.order("DE", "voice") == ["b"]
    with pytest.raises(SendUnavailable) as refused:
        routes.order("FR", "voice")
    assert "voice" in refused.value.detail
    assert "a text" in refused.value.detail


def test_the_price_that_is_reserved(database: Database, clock: Clock) -> None:
    """It is that of the dearest who may come to send it."""
    priced = Routing.model_validate(
        {
            "currency": "EUR",
            "choice": CHOICE,
            "prices": {
                "default": {"sms": {"default": 0.01}, "voice": {"default": 0.5}},
                "a": {"sms": {"default": 0.02, "DE": 0.07}},
            },
        },
        context={"a", "b"},
    )
    router = Router(priced, [Scripted("a"), Scripted("b")], clock, os.urandom)
    with database.read() as connection:
        assert router.route(connection, "DE", "sms").dearest == 70_000
        assert router.route(connection, "FR", "sms").dearest == 20_000
        assert router.route(connection, "FR", "voice").dearest == 500_000


def test_whoever_converts_better_is_chosen(database: Database, clock: Clock) -> None:
    """In each country by what was seen there, on each channel by what was seen on it."""
    routes = Routes(database, clock, Scripted("a"), Scripted("b"))
    for country, good, bad in (("DE", "a", "b"), ("FR", "b", "a")):
        routes.happened(good, 100, 90, country, hours=1)
        routes.happened(bad, 100, 40, country, hours=1)
        assert routes.firsts(country)[good] == 100
    assert 20 < routes.firsts("DE", "voice")["a"] < 80
    assert 20 < routes.firsts("ES")["a"] < 80


def test_yesterday_is_forgotten(database: Database, clock: Clock) -> None:
    """After a day nothing counts, and maintenance deletes it."""
    routes = Routes(database, clock, Scripted("a"), Scripted("b"))
    routes.happened("a", 100, 0, minutes=10)
    routes.happened("b", 100, 100, minutes=10)
    clock.advance(hours=23)
    assert routes.firsts()["b"] == 100
    with database.write() as connection:
        assert outcomes.purge_outcomes(connection, clock()) == 0
    clock.advance(hours=2)
    assert 20 < routes.firsts()["b"] < 80
    with database.write() as connection:
        assert outcomes.purge_outcomes(connection, clock()) == 2


def test_a_clock_that_jumps_back(database: Database, clock: Clock) -> None:
    """What was seen in the future is left aside, and nothing fails."""
    routes = Routes(database, clock, Scripted("a"), Scripted("b"))
    routes.happened("a", 100, 0, hours=-3)
    assert 20 < routes.firsts()["a"] < 80


def test_counts_add_up(database: Database, clock: Clock) -> None:
    """Slots are five minutes long, and after two hours are read an hour at a time."""
    routes = Routes(database, clock, Scripted("a"))
    clock.now = clock.now.replace(minute=58)
    for minutes in (1, 2, 130, 140, 170, 300):
        routes.happened("a", 2, 1, minutes=minutes)
    with database.read() as connection:
        seen = outcomes.read(connection, "DE", "sms", clock())
    newest = slot_of(clock())
    assert newest % 12 == 11
    assert seen == [
        SlotOutcome("a", newest, 4, 2),
        SlotOutcome("a", newest - 35, 6, 3),
        SlotOutcome("a", newest - 71, 2, 1),
    ]


def at(clock: Clock, **ago: float) -> int:
    """Name the slot that begins some time ago."""
    return slot_of(clock() - timedelta(**ago))


def weighed(clock: Clock, seen: Sequence[SlotOutcome]) -> ConversionEvidence:
    """Weigh what was seen of `a`."""
    return weigh(seen, clock(), CHOICE)["a"]


def test_a_send_is_not_known_to_have_failed_at_once(clock: Clock) -> None:
    """Until people had time to verify it counts as nothing; then as failed; verified counts at once."""
    slot = slot_of(clock())
    for seconds, known in ((0, 0), (1, 0), (180, 0), (240, 0.25), (300, 0.4), (390, 0.7), (480, 1)):
        clock.now = clock.now.replace(minute=seconds // 60, second=seconds % 60)
        evidence = weigh(
            [SlotOutcome("a", slot, 2, 0), SlotOutcome("b", slot, 2, 2)], clock(), CHOICE
        )
        half = 0.5 ** (1 / CHOICE.half_life_sends)
        assert evidence["a"] == pytest.approx((0, 2 * known * half))
        assert evidence["b"] == pytest.approx((2 * half, 0))


def test_age_is_counted_in_sends(clock: Clock) -> None:
    """What a hundred of the provider's own sends came after counts half, however long ago it was."""
    for later in (at(clock, hours=1), at(clock, hours=22)):
        seen = [
            SlotOutcome("a", later, 100, 50),
            SlotOutcome("b", later, 500, 5),
            SlotOutcome("a", later - 12, 10, 8),
        ]
        new, old = 0.5 ** (50 / CHOICE.half_life_sends), 0.5 ** (105 / CHOICE.half_life_sends)
        expected = (50 * new + 8 * old, 50 * new + 2 * old)
        assert weighed(clock, seen) == pytest.approx(expected)


def test_who_died_is_left(clock: Clock) -> None:
    """A long good record does not hold the router once fifty sends in a row came to nothing."""
    seen = [
        SlotOutcome("a", at(clock, minutes=20), 60, 0),
        SlotOutcome("b", at(clock, hours=2), 40, 28),
    ]
    seen += [SlotOutcome("a", at(clock, hours=3), 1000, 850)]
    drawn = [
        rank(
            [Candidate("a", 1), Candidate("b", 1)], weigh(seen, clock(), CHOICE), CHOICE, Random(n)
        )
        for n in range(100)
    ]
    assert sum(order[0].provider == "b" for order in drawn) > 90


def share(
    first: ConversionEvidence, second: ConversionEvidence, price: int = 1, other: int = 1
) -> float:
    """Say how often the first comes before the second."""
    random = Random(7)
    candidates = [Candidate("a", price), Candidate("b", other)]
    evidence = {"a": first, "b": second}
    orders = (rank(candidates, evidence, CHOICE, random) for _ in range(DRAWS))
    return sum(order[0].provider == "a" for order in orders) / DRAWS


def test_it_is_thompson_sampling() -> None:
    """Whoever may be best comes first as often as that is likely: for Beta(2, 1) and Beta(1, 1) 2/3."""
    assert share(ConversionEvidence(1, 0), ConversionEvidence(0, 0)) == pytest.approx(
        2 / 3, abs=0.04
    )
    assert share(ConversionEvidence(0, 0), ConversionEvidence(0, 0)) == pytest.approx(
        1 / 2, abs=0.04
    )


@pytest.mark.parametrize(
    ("price", "better", "chosen"), [(2, 0.03, 0), (2, 0.07, 1), (4, 0.07, 0), (4, 0.13, 1)]
)
def test_what_a_price_weighs(price: int, better: float, chosen: int) -> None:
    """Twice as dear must convert better by the margin, four times as dear by twice that."""
    million = 1_000_000
    dear = ConversionEvidence(million * (0.7 + better), million * (0.3 - better))
    assert share(dear, ConversionEvidence(0.7 * million, 0.3 * million), price, 1) == chosen


def test_what_is_free() -> None:
    """It counts as a millionth, so that a price can still be weighed against it."""
    assert doublings(0, 0) == 0
    assert doublings(8, 0) == 3
    assert doublings(80_000, 20_000) == 2
