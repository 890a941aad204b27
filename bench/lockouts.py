"""Lockouts for bench/pumping.py: a stranger fills a prefix, a network or a country that owners share.

The stranger solves every challenge, asks from thousands of addresses and types no code in. Owners are
people whose numbers have an account or were verified in the last year; half of them come through a protocol
that can carry no challenge. Newcomers are people of the same place whose numbers nobody knows.
"""

from collections.abc import Callable, Iterator
from random import Random

from bench.pumping_world import COUNTRIES, DAY, Ask, digest

LOCKOUTS = ("prefix", "network", "country")
OWNING = ("owners", "owners, no challenge", "newcomers")
#: Prefixes that are locked out one by one, each of another country where there are enough.
PREFIXES, OWNERS_A_PREFIX = 40, 3
#: Of each kind, of a network, and of a country in which 70 people sign up on other days.
OWNERS_OF_NETWORK, OWNERS_OF_COUNTRY = 200, 100
TEXTS_A_PREFIX, TEXTS_A_NETWORK, TEXTS_A_COUNTRY = 200, 1_500, 3_000
LOCKED_COUNTRY = "TN"
#: The stranger is done by then, and owners come until the day is over.
FILLED_BY = 3 * 3600.0


def lockout(random: Random, of: str) -> Iterator[list[Ask]]:
    """Draw what a stranger, owners and newcomers ask for in a lockout."""
    names = list(COUNTRIES)
    if of == "prefix":
        for place in range(PREFIXES):
            country = names[place % len(names)]
            prefix = f"+{country}{20_000 + place:05d}"
            for n in range(TEXTS_A_PREFIX):
                yield [_stranger(random, country, prefix, n, _elsewhere(n))]
            yield from _people(random, OWNERS_A_PREFIX, _always(country, prefix), None)
    elif of == "network":
        shared = digest("locked"), digest("around locked")
        for n in range(TEXTS_A_NETWORK):
            country = random.choice(names)
            yield [_stranger(random, country, _prefix(random, country), n, shared)]
        yield from _people(
            random, OWNERS_OF_NETWORK, lambda r: _somewhere(r, r.choice(names)), shared
        )
    else:
        for n in range(TEXTS_A_COUNTRY):
            prefix = _prefix(random, LOCKED_COUNTRY)
            yield [_stranger(random, LOCKED_COUNTRY, prefix, n, _elsewhere(n))]
        yield from _people(random, OWNERS_OF_COUNTRY, lambda r: _somewhere(r, LOCKED_COUNTRY), None)


def _always(country: str, prefix: str) -> Callable[[Random], tuple[str, str]]:
    return lambda _: (country, prefix)


def _prefix(random: Random, country: str) -> str:
    return f"+{country}{random.randrange(COUNTRIES[country].prefixes):05d}"


def _somewhere(random: Random, country: str) -> tuple[str, str]:
    return country, _prefix(random, country)


def _elsewhere(n: int) -> tuple[bytes, bytes]:
    """Name one of the stranger's addresses, and the network around it."""
    return digest("stranger", n % 8_000), digest("around stranger", n % 2_000)


def _stranger(
    random: Random, country: str, prefix: str, n: int, whence: tuple[bytes, bytes]
) -> Ask:
    at = random.uniform(0, FILLED_BY)
    number = 2_000_000 + random.randrange(10_000)
    return Ask(at, "stranger", country, prefix, number, *whence, False, None)


def _people(
    random: Random,
    count: int,
    place: Callable[[Random], tuple[str, str]],
    network: tuple[bytes, bytes] | None,
) -> Iterator[list[Ask]]:
    """Draw as many people of each kind; each asks once, and types the code in.

    place: draws a country and a prefix in it. network: where they all ask from; None: each from their own.
    """
    for side in OWNING:
        for _ in range(count):
            number = random.randrange(3_000_000, 2**40)
            whence = network or (digest("home", number), digest("around home", number))
            country, prefix = place(random)
            yield [
                Ask(
                    random.uniform(FILLED_BY, DAY - 60),
                    side,
                    country,
                    prefix,
                    number,
                    *whence,
                    False,
                    20.0,
                    known=side != "newcomers",
                    can_challenge=side != "owners, no challenge",
                )
            ]
