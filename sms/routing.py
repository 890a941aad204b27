"""The router: which providers a send is offered to, and in which order.

Owns the choice: an operator's pin, else Thompson sampling over what came of first sends, with prices
weighed in. Refuses providers that cannot carry the channel. It remembers who was away just now, in this
process only: that is a hint for the order, and decides nothing else.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from sqlalchemy import Connection

from sms import outcomes
from sms.outcomes import NOTHING, Evidence
from sms.problems import SendUnavailable
from sms.provider import Channel, Provider
from sms.routing_file import Choice, Routing

#: How long a provider that did not say when it is back goes last, and the longest that one can say.
AWAY, MAX_AWAY = timedelta(seconds=30), timedelta(hours=1)


class Candidate(NamedTuple):
    """A provider that may be handed a send, and its price in millionths of the currency."""

    provider: str
    price_micros: int


@dataclass(frozen=True)
class Route:
    """Who may send to a country on a channel: at least one, in the order they are tried."""

    country: str
    channel: Channel
    candidates: tuple[Candidate, ...]

    @property
    def dearest(self) -> int:
        """The most that a send can come to cost, in millionths of the currency."""
        return max(candidate.price_micros for candidate in self.candidates)


class Router:
    """Chooses routes; built once."""

    def __init__(
        self,
        routing: Routing,
        providers: Sequence[Provider],
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._routing = routing
        self._channels = {provider.name: provider.channels for provider in providers}
        self._clock = clock
        self._entropy = entropy
        self._away: dict[str, datetime] = {}

    @property
    def learns(self) -> bool:
        """Whether there is anything to choose, and so anything to learn for it."""
        return len(self._channels) > 1

    def route(self, connection: Connection, country: str, channel: Channel) -> Route:
        """Choose who sends, by what the caller's transaction sees of earlier sends.

        Raises SendUnavailable when nobody in question carries the channel.
        """
        pinned = self._routing.pins.get(country)
        able = [
            Candidate(name, self._routing.price_micros(name, country, channel))
            for name in pinned or self._channels
            if channel in self._channels[name]
        ]
        if not able:
            other = "a text" if channel == "voice" else "a call"
            raise SendUnavailable(
                f"Nobody here sends this to {country} on the channel {channel}; ask for {other}."
            )
        if not pinned and len(able) > 1:
            now = self._clock()
            seen = outcomes.read(connection, country, channel, now)
            evidence = outcomes.weigh(seen, now, self._routing.choice)
            seed = int.from_bytes(self._entropy(16))
            able = rank(able, evidence, self._routing.choice, Random(seed))  # noqa: S311
        return Route(country, channel, tuple(self._away_last(able)))

    def _away_last(self, candidates: list[Candidate]) -> list[Candidate]:
        now = self._clock()
        return sorted(
            candidates,
            key=lambda one: one.provider in self._away and self._away[one.provider] > now,
        )

    def went_away(self, provider: str, retry_after: int | None) -> None:
        """Try a provider last until it is back; `retry_after` is in seconds, if it said so."""
        wait = AWAY if retry_after is None else timedelta(seconds=retry_after)
        self._away[provider] = self._clock() + min(wait, MAX_AWAY)

    def came_back(self, provider: str) -> None:
        """Try a provider in its turn again."""
        self._away.pop(provider, None)


def rank(
    candidates: Iterable[Candidate],
    evidence: Mapping[str, Evidence],
    choice: Choice,
    random: Random,
) -> list[Candidate]:
    """Order candidates, best first, by a conversion drawn for each less what its price takes off.

    The draw is from Beta(1 + verified, 1 + not), so whoever may be best is tried as often as that is
    likely (Thompson 1933). A price takes off `margin` each time it doubles from the cheapest.
    """
    candidates = list(candidates)
    cheapest = min(candidate.price_micros for candidate in candidates)

    def utility(candidate: Candidate) -> float:
        seen = evidence.get(candidate.provider, NOTHING)
        conversion = random.betavariate(1 + seen.verified, 1 + seen.failed)
        return conversion - choice.margin * doublings(candidate.price_micros, cheapest)

    return sorted(candidates, key=utility, reverse=True)


def doublings(price_micros: int, cheapest_micros: int) -> float:
    """Say how often a price doubles another; what is free counts as a millionth."""
    return math.log2(max(1, price_micros) / max(1, cheapest_micros))
