"""Settings of discovery: pages, budgets, alerts and epochs."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from core.budgets import MAX_REFILL, Budget
from core.setting_types import split
from core.settings import CoreSettings


def _tier(value: str) -> str:
    name, _, budget = value.partition(":")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
        raise ValueError(f"{value!r} is not a name and a budget such as partner:20000:500")
    Budget.read(budget)
    return value


class DiscoverySettings(CoreSettings):
    """The settings section of discovery."""

    RETIRED: ClassVar[Mapping[str, str]] = {
        "KITH_DISCOVERY_CEILING": "is called KITH_DISCOVERY_ALERT_PER_DAY now",
        "KITH_BLOOM_FILTER": "is gone: a snapshot that is large for the host's memory gets a filter",
        "KITH_DISCOVERY_NETWORK_CEILING": "is called KITH_DISCOVERY_NETWORK_ALERT_PER_DAY now",
    }

    max_hashes: int = Field(10_000, ge=1, le=10_000, description="Maximum hashes per lookup.")
    discovery_burst: int = Field(
        2_500,
        ge=1,
        le=1_000_000_000,
        description="New hashes that a verified number can look up at once.",
    )
    discovery_per_day: int = Field(
        50,
        ge=1,
        le=1_000_000_000,
        description="New hashes per day by which the budget of a number is refilled.",
    )
    discovery_tiers: Annotated[
        tuple[Annotated[str, AfterValidator(_tier)], ...], NoDecode, BeforeValidator(split)
    ] = Field(
        (),
        description="Further budgets that an operator can assign to numbers, each as"
        " `name:burst:per day`, such as `partner:20000:500`.",
    )
    discovery_network_alert_per_day: int = Field(
        100_000,
        ge=1,
        le=2**30,
        description="New hashes per day from one network above which Kith alerts the operator.",
    )
    discovery_alert_per_day: int = Field(
        10_000_000,
        ge=1,
        le=2**30,
        description="New hashes per day from all networks above which Kith alerts the operator.",
    )
    epoch_days: int = Field(
        0,
        ge=0,
        le=3_650,
        description="Days after which a new discovery epoch starts automatically. 0: only with"
        " `flask --app app discovery rotate`.",
    )
    epoch_overlap_days: int = Field(
        7,
        ge=1,
        le=365,
        description="Days for which the previous epoch still answers after a rotation.",
    )

    def faults(self) -> list[str]:
        """List faults that several settings cause together."""
        faults = super().faults()
        if self.discovery_burst > MAX_REFILL * self.discovery_per_day:
            faults.append(f"KITH_DISCOVERY_BURST would take more than {MAX_REFILL} days to refill")
        tiers = [tier.partition(":")[0] for tier in self.discovery_tiers]
        if len(set(tiers)) < len(tiers):
            faults.append("KITH_DISCOVERY_TIERS names one budget twice")
        return faults
