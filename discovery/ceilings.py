"""Ceilings: how many new hashes a network, and everybody together, ask about in a day.

Owns two counts that raise an alarm and refuse nobody: who enumerates with many numbers stays within
each number's budget, and is seen here.
"""

from datetime import datetime

import structlog
from sqlalchemy import Connection

from core.clock import DAY
from core.metrics import Metrics
from core.rate_limits import RateLimit, add_to_windows
from core.requester import Requester
from core.secrets import Keyring
from discovery.settings import DiscoverySettings

log = structlog.get_logger()

EVERYBODY = bytes(16)


class Ceilings:
    """Counts what was charged, and tells when a day's count passes its ceiling."""

    def __init__(self, settings: DiscoverySettings, keyring: Keyring, metrics: Metrics) -> None:
        self._by_network = RateLimit(
            "discovery-network", settings.discovery_network_ceiling, DAY, "fixed-window"
        )
        self._by_everybody = RateLimit(
            "discovery-all", settings.discovery_alert_per_day, DAY, "fixed-window"
        )
        self._keyring = keyring
        self._metrics = metrics

    def count(
        self, connection: Connection, requester: Requester, hashes: int, now: datetime
    ) -> None:
        """Count hashes that were paid for; the last thing in a transaction, for many share a row."""
        network = self._keyring.digest("requester", requester.wider or requester.network)
        charges = (
            self._by_network.charge(network, hashes, now),
            self._by_everybody.charge(EVERYBODY, hashes, now),
        )
        by_network, by_everybody = add_to_windows(connection, charges, now)
        for scope, limit, window in (
            ("network", self._by_network, by_network),
            ("everybody", self._by_everybody, by_everybody),
        ):
            if window.used - hashes <= limit.quota < window.used:
                self._metrics.ceilings.labels(scope).inc()
                log.warning("discovery.ceiling", scope=scope, hashes=window.used)
