"""A simulated day for bench/pumping.py: sign-ups in 40 countries, and three pumping attacks among them.

Who requests what, when and from where. All is drawn from one seed, so every policy meets the same people
and attackers. The figures of countries are invented, and meant to be plausible.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import NamedTuple

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
DAY = 86_400.0
#: Of those who ask, how many are people in a day.
PEOPLE = 12_000
#: Seconds from a text to its code: log-normal, half within the first.
MEDIAN_SECONDS, SPREAD = 20.0, 0.9
#: Of those who got no code: who asks for it again after a minute, and who starts anew later.
ASKS_AGAIN, STARTS_ANEW, SECOND_CHANCE = 0.35, 0.15, 0.4
#: Who sits behind an address shared with others (carriers, offices, campuses), or behind a VPN's.
SHARED, PEOPLE_A_SHARED_ADDRESS, THROUGH_VPN, VPNS = 0.4, 40, 0.005, 12
#: Who signs up abroad, with the number from home.
TRAVELS = 0.02


class Country(NamedTuple):
    """One country: its share of people, who verifies at the first text, a text's price, used prefixes."""

    share: float
    converts: float
    price: float
    prefixes: int


COUNTRIES = {
    "US": Country(0.140, 0.86, 0.008, 9000),
    "IN": Country(0.110, 0.74, 0.060, 9000),
    "BR": Country(0.080, 0.78, 0.050, 6000),
    "DE": Country(0.070, 0.88, 0.090, 5000),
    "GB": Country(0.060, 0.87, 0.045, 4000),
    "FR": Country(0.050, 0.86, 0.070, 4000),
    "MX": Country(0.040, 0.76, 0.050, 4000),
    "ES": Country(0.035, 0.85, 0.070, 3000),
    "IT": Country(0.035, 0.86, 0.080, 3000),
    "TR": Country(0.030, 0.77, 0.030, 2500),
    "ID": Country(0.030, 0.66, 0.200, 5000),
    "JP": Country(0.025, 0.86, 0.070, 3000),
    "PL": Country(0.025, 0.85, 0.040, 1500),
    "CA": Country(0.025, 0.86, 0.008, 2500),
    "AR": Country(0.020, 0.74, 0.060, 2000),
    "CO": Country(0.020, 0.75, 0.050, 2000),
    "NL": Country(0.020, 0.88, 0.090, 1500),
    "PH": Country(0.018, 0.68, 0.110, 3000),
    "ZA": Country(0.015, 0.73, 0.030, 1500),
    "NG": Country(0.015, 0.60, 0.190, 2500),
    "EG": Country(0.015, 0.66, 0.150, 2000),
    "PK": Country(0.013, 0.62, 0.200, 2500),
    "VN": Country(0.012, 0.69, 0.090, 2000),
    "TH": Country(0.012, 0.76, 0.020, 1500),
    "AU": Country(0.012, 0.86, 0.040, 1200),
    "UA": Country(0.011, 0.74, 0.100, 1200),
    "SE": Country(0.010, 0.88, 0.060, 800),
    "CH": Country(0.010, 0.88, 0.070, 800),
    "PT": Country(0.008, 0.85, 0.040, 600),
    "KE": Country(0.008, 0.66, 0.110, 1000),
    "MA": Country(0.007, 0.64, 0.110, 900),
    "TN": Country(0.006, 0.63, 0.180, 600),
    "GH": Country(0.005, 0.62, 0.180, 700),
    "LK": Country(0.004, 0.64, 0.190, 600),
    "AZ": Country(0.002, 0.62, 0.290, 300),
    "KG": Country(0.001, 0.60, 0.260, 200),
    "LU": Country(0.001, 0.88, 0.080, 30),
    "IS": Country(0.001, 0.89, 0.070, 30),
    "MT": Country(0.001, 0.86, 0.070, 40),
    "EE": Country(0.001, 0.87, 0.080, 60),
}


class Ask(NamedTuple):
    """Somebody asks for a text."""

    #: Seconds after midnight.
    at: float
    #: Who: `people`, or the name of an attack.
    side: str
    country: str
    prefix: str
    number: int
    network: bytes
    subnet: bytes
    resend: bool
    #: Seconds until its code is typed in; None when it never is.
    verifies_after: float | None
    #: Whether the number has an account, or was verified in the last year.
    known: bool = False
    #: Whether it comes through a protocol that can carry a challenge.
    can_challenge: bool = True


@dataclass
class Person:
    """One person's day: what she asks for, one after the other."""

    asks: list[Ask]


class Attack(NamedTuple):
    """A ring that has texts sent to numbers it earns on."""

    name: str
    country: str
    messages: int
    prefixes: int
    addresses: int
    starts: float
    lasts: float
    #: Of its numbers, how many it really verifies.
    verifies: float


ATTACKS = (
    Attack("one prefix", "AZ", 13_000, 1, 20_000, 9 * 3600, 4 * 3600, 0.0),
    Attack("200 prefixes", "TN", 10_000, 200, 8_000, 0.0, DAY, 0.0),
    Attack("verifies 10 %", "PH", 5_000, 100, 4_000, 6 * 3600, 12 * 3600, 0.1),
)


def digest(*names: object) -> bytes:
    """Name somebody or something as the tables do, in 16 bytes."""
    return sha256(repr(names).encode()).digest()[:16]


def moment(seconds: float) -> datetime:
    """Give the time so many seconds after the day's midnight."""
    return MIDNIGHT + timedelta(seconds=seconds)


def people(random: Random, count: int = PEOPLE) -> Iterator[Person]:
    """Draw the people of a day."""
    names, shares = list(COUNTRIES), [country.share for country in COUNTRIES.values()]
    for identity, name in enumerate(random.choices(names, shares, k=count)):
        country = COUNTRIES[name]
        # More people live in some prefixes than in others.
        place = int(country.prefixes * random.random() ** 1.5)
        network, subnet = _home(random, name, identity)
        at = _time_of_day(random)
        yield Person(list(_asks(random, country, name, place, identity, network, subnet, at)))


def _asks(
    random: Random,
    country: Country,
    name: str,
    place: int,
    number: int,
    network: bytes,
    subnet: bytes,
    at: float,
) -> Iterator[Ask]:
    """Draw what one person asks for until she is verified or gives up."""
    chance, resend = country.converts, False
    while True:
        verified = random.random() < chance
        seconds = MEDIAN_SECONDS * math.exp(SPREAD * random.gauss(0, 1)) if verified else None
        prefix = f"+{name}{place:05d}"
        yield Ask(at, "people", name, prefix, number, network, subnet, resend, seconds)
        chance = SECOND_CHANCE
        if verified:
            return
        if random.random() < ASKS_AGAIN:
            at, resend = at + random.uniform(60, 120), True
        elif random.random() < STARTS_ANEW:
            at, resend = at + random.uniform(300, 3600), False
        else:
            return


def _home(random: Random, country: str, identity: int) -> tuple[bytes, bytes]:
    """Draw the address that a person asks from, and the network around it."""
    if random.random() < THROUGH_VPN:
        exit_ = random.randrange(VPNS)
        return digest("vpn", exit_), digest("vpns", exit_ // 4)
    if random.random() < TRAVELS:
        country = random.choice(list(COUNTRIES))
    if random.random() < SHARED:
        expected = PEOPLE * COUNTRIES[country].share * SHARED
        address = random.randrange(max(1, round(expected / PEOPLE_A_SHARED_ADDRESS)))
        return digest("shared", country, address), digest("around", country, address // 16)
    return digest("own", identity), digest("around own", country, random.randrange(50_000))


def _time_of_day(random: Random) -> float:
    """Draw when somebody signs up: twice as often in the afternoon as at night."""
    while True:
        at = random.uniform(0, DAY)
        if random.random() < 0.65 - 0.35 * math.cos(2 * math.pi * (at - 3 * 3600) / DAY):
            return at


def attackers(random: Random, attack: Attack) -> Iterator[Ask]:
    """Draw what an attack asks for; its prefixes are among those that people use."""
    used = COUNTRIES[attack.country].prefixes
    places = random.sample(range(used), attack.prefixes)
    for _ in range(attack.messages):
        address = random.randrange(attack.addresses)
        place = random.choice(places)
        number = 1_000_000 + random.randrange(10_000) + 10_000 * place
        at = attack.starts + random.uniform(0, attack.lasts)
        verified = random.uniform(10, 60) if random.random() < attack.verifies else None
        yield Ask(
            at,
            attack.name,
            attack.country,
            f"+{attack.country}{place:05d}",
            number,
            digest("attacker", attack.name, address),
            digest("around attacker", attack.name, address // 4),
            False,
            verified,
        )


def earlier_days(random: Random, days: int) -> Counter[tuple[str, str, int, str]]:
    """Count what ordinary days before this one sent and verified: (scope, span, start, which)."""
    counts: Counter[tuple[str, str, int, str]] = Counter()
    for day in range(1, days + 1):
        for person in people(random):
            for ask in person.asks:
                at = moment(ask.at) - timedelta(days=day)
                hour = int(at.timestamp()) // 3600
                for scope in (ask.prefix, ask.country):
                    for span, start in (("h", hour), ("d", hour // 24)):
                        counts[scope, span, start, "sends"] += 1
                        counts[scope, span, start, "verified"] += ask.verifies_after is not None
    return counts
