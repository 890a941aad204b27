"""Ceilings: how many new hashes a network, and everybody together, ask about in a day.

Owns two counts that raise an alarm and refuse nobody: who enumerates with many numbers stays within
each number's budget, and is seen here.
"""

from datetime import datetime

import structlog
from sqlalchemy import Connection

from core.counting import Amount, add
from core.limits import DAY
from core.metrics import Metrics
from core.requester import Requester
from core.secrets import Keyring
from discovery.settings import DiscoverySettings

log = structlog.get_logger()

EVERYBODY = bytes(16)


class Ceilings:
    """Counts what was charged, and tells when a day's count passes its ceiling."""

    def __init__(self, settings: DiscoverySettings, keyring: Keyring, metrics: Metrics) -> None:
        self._ceilings = (
            ("network", settings.discovery_network_ceiling),
            ("everybody", settings.discovery_alert_per_day),
        )
        self._keyring = keyring
        self._metrics = metrics

    def count(
        self, connection: Connection, requester: Requester, hashes: int, now: datetime
    ) -> None:
        """Count hashes that were paid for; the last thing in a transaction, for many share a row."""
        network = self._keyring.digest("requester", requester.wider or requester.network)
        windows = (
            Amount("discovery-network", network, hashes, now + DAY),
            Amount("discovery-all", EVERYBODY, hashes, now + DAY),
        )
        for (scope, most), window in zip(
            self._ceilings, add(connection, windows, now), strict=True
        ):
            if window.used - hashes <= most < window.used:
                self._metrics.ceilings.labels(scope).inc()
                log.warning("discovery.ceiling", scope=scope, hashes=window.used)
