"""The figures of bench/pumping.py: how each side fared, as tables and as JSON."""

from dataclasses import dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from bench.lockouts import OWNING
from bench.pumping_world import ATTACKS, COUNTRIES, PEOPLE
from verification.policy.rules import MICROS

Fate = Literal["untroubled", "challenged", "blocked"]


@dataclass
class Side:
    """How one side fared: the people, or an attack."""

    asked: int = 0
    sent: int = 0
    money_micros: int = 0
    #: Honest people only, by the worst that happened to them.
    fates: dict[int, Fate] = field(default_factory=dict)

    def share(self, fate: Fate) -> float:
        """Give the share of people whose worst was this."""
        return sum(each == fate for each in self.fates.values()) / max(1, len(self.fates))


def lockout_document(results: dict[str, dict[str, Side]]) -> dict[str, Any]:
    """Give the figures of lockouts as JSON."""
    return {
        name: {
            side: {
                "people": len(one.fates),
                "refused": round(one.share("blocked"), 5),
                "challenged": round(one.share("challenged"), 5),
            }
            if side in OWNING
            else {"tried": one.asked, "sent": one.sent}
            for side, one in sides.items()
        }
        for name, sides in results.items()
    }


def show_lockouts(console: Console, results: dict[str, dict[str, Side]]) -> None:
    """Print what a stranger locks out as a table."""
    grid = Table(title="Lockouts: a stranger who solves every challenge fills what owners share")
    grid.add_column("lockout of", no_wrap=True)
    grid.add_column("stranger sent", justify="right")
    for side in OWNING:
        grid.add_column(f"{side}\nrefused", justify="right")
    for name, sides in results.items():
        stranger = sides["stranger"]
        grid.add_row(
            name,
            f"{stranger.sent:,} of {stranger.asked:,}",
            *(f"{sides[side].share('blocked'):.2%}" for side in OWNING),
        )
    console.print(grid)


def document(results: dict[str, dict[str, Side]]) -> dict[str, Any]:
    """Give the figures as JSON."""
    return {
        name: {
            "people": {
                "asked": sides["people"].asked,
                "sent": sides["people"].sent,
                "money": round(sides["people"].money_micros / MICROS, 2),
                "blocked": round(sides["people"].share("blocked"), 5),
                "challenged": round(sides["people"].share("challenged"), 5),
            },
            "attacks": {
                attack.name: {
                    "tried": sides[attack.name].asked,
                    "sent": sides[attack.name].sent,
                    "sent_share": round(sides[attack.name].sent / sides[attack.name].asked, 5),
                    "money": round(sides[attack.name].money_micros / MICROS, 2),
                }
                for attack in ATTACKS
            },
        }
        for name, sides in results.items()
    }


def show(console: Console, results: dict[str, dict[str, Side]]) -> None:
    """Print the figures as a table."""
    grid = Table(title=f"A day: {PEOPLE:,} people in {len(COUNTRIES)} countries, three attacks")
    grid.add_column("policy", no_wrap=True)
    for attack in ATTACKS:
        grid.add_column(f"{attack.name}\nsent of {attack.messages:,}", justify="right")
    for heading in ("money lost", "people\nblocked", "people\nchallenged", "people's\nmoney"):
        grid.add_column(heading, justify="right")
    for name, sides in results.items():
        fought = [sides[attack.name] for attack in ATTACKS]
        honest = sides["people"]
        grid.add_row(
            name,
            *(f"{side.sent:,} ({side.sent / side.asked:.1%})" for side in fought),
            f"{sum(side.money_micros for side in fought) / MICROS:,.0f}",
            f"{honest.share('blocked'):.2%}",
            f"{honest.share('challenged'):.2%}",
            f"{honest.money_micros / MICROS:,.0f}",
        )
    console.print(grid)
