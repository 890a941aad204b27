"""The router: which providers a send may use, and in which order.

A country's pin decides; otherwise Thompson sampling over the outcomes of first sends, with prices weighed in.
Which providers are unavailable is known to this process only and changes nothing but the order.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from sqlalchemy import Connection

from sms import outcomes
from sms.outcomes import NO_EVIDENCE, ConversionEvidence
from sms.problems import SendUnavailable
from sms.provider import Channel, Provider
from sms.routing_file import Routing, RoutingParameters

#: How long an unavailable provider goes last: without a Retry-After, and at most.
DEFAULT_BACKOFF, MAX_BACKOFF = timedelta(seconds=30), timedelta(hours=1)


class Candidate(NamedTuple):
    """A provider that a send may use, and its price in millionths of the currency."""

    provider: str
    price_micros: int


@dataclass(frozen=True)
class Route:
    """The providers for a country and a channel: at least one, in the order they are tried."""

    country: str
    channel: Channel
    candidates: tuple[Candidate, ...]

    @property
    def dearest(self) -> int:
        """The highest price of a send, in millionths of the currency."""
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
        self._unavailable_until: dict[str, datetime] = {}

    @property
    def learns(self) -> bool:
        """Whether there is a choice, and so anything to learn."""
        return len(self._channels) > 1

    def route(self, connection: Connection, country: str, channel: Channel) -> Route:
        """Choose providers, by the outcomes that the caller's transaction sees.

        Raises SendUnavailable if no provider carries the channel.
        """
        pinned = self._routing.pins.get(country)
        candidates = [
            Candidate(name, self._routing.price_micros(name, country, channel))
            for name in pinned or self._channels
            if channel in self._channels[name]
        ]
        if not candidates:
            other = "a text" if channel == "voice" else "a call"
            raise SendUnavailable(
                f"No provider sends to {country} on the channel {channel}; ask for {other}."
            )
        now = self._clock()
        if not pinned and len(candidates) > 1:
            recent = outcomes.read(connection, country, channel, now)
            evidence = outcomes.weigh(recent, now, self._routing.choice)
            random = Random(int.from_bytes(self._entropy(16)))  # noqa: S311
            candidates = rank(candidates, evidence, self._routing.choice, random)
        # The sort is stable.
        candidates.sort(key=lambda each: self._unavailable_until.get(each.provider, now) > now)
        return Route(country, channel, tuple(candidates))

    def mark_unavailable(self, provider: str, retry_after: int | None) -> None:
        """Try a provider last for a while; `retry_after` is in seconds, if it gave one."""
        wait = DEFAULT_BACKOFF if retry_after is None else timedelta(seconds=retry_after)
        self._unavailable_until[provider] = self._clock() + min(wait, MAX_BACKOFF)

    def mark_available(self, provider: str) -> None:
        """Try a provider in its usual turn again."""
        self._unavailable_until.pop(provider, None)


def rank(
    candidates: Iterable[Candidate],
    evidence: Mapping[str, ConversionEvidence],
    parameters: RoutingParameters,
    random: Random,
) -> list[Candidate]:
    """Order candidates, best first, by a sampled conversion less a deduction for the price.

    The sample is from Beta(1 + verified, 1 + failed), so a provider is tried as often as it is likely to be
    the best (Thompson 1933). The deduction is `margin` for each doubling of the cheapest price.
    """
    candidates = list(candidates)
    cheapest = min(candidate.price_micros for candidate in candidates)

    def utility(candidate: Candidate) -> float:
        known = evidence.get(candidate.provider, NO_EVIDENCE)
        conversion = random.betavariate(1 + known.verified, 1 + known.failed)
        return conversion - parameters.margin * doublings(candidate.price_micros, cheapest)

    return sorted(candidates, key=utility, reverse=True)


def doublings(price_micros: int, cheapest_micros: int) -> float:
    """Return how often a price doubles the cheapest one; a free send counts as a millionth."""
    return math.log2(max(1, price_micros) / max(1, cheapest_micros))
