"""Usage alerts: new hashes a day of a network, and of all together, above which operators are alerted.

Nobody is refused: who enumerates with many numbers stays within the budget of each, and shows up here.
"""

from datetime import datetime

import structlog
from sqlalchemy import Connection

from core.clock import DAY
from core.rate_limits import RateLimit, add_to_windows
from core.requester import Requester
from core.secrets import Keyring
from discovery.metrics import DiscoveryMetrics
from discovery.settings import DiscoverySettings

log = structlog.get_logger()

EVERYBODY = bytes(16)


class UsageAlerts:
    """Counts new hashes a day, and alerts once when a count passes its threshold."""

    def __init__(
        self, settings: DiscoverySettings, keyring: Keyring, metrics: DiscoveryMetrics
    ) -> None:
        by_network = settings.discovery_network_alert_per_day
        self._by_network = RateLimit("discovery-network", by_network, DAY, "fixed-window")
        self._by_all = RateLimit(
            "discovery-all", settings.discovery_alert_per_day, DAY, "fixed-window"
        )
        self._keyring = keyring
        self._metrics = metrics

    def count(
        self, connection: Connection, requester: Requester, hashes: int, now: datetime
    ) -> None:
        """Count hashes that were paid for; comes last in a transaction, because all share a row."""
        network = self._keyring.digest("requester", requester.subnet or requester.network)
        charges = (
            self._by_network.charge(network, hashes, now),
            self._by_all.charge(EVERYBODY, hashes, now),
        )
        windows = add_to_windows(connection, charges, now)
        limits = (("network", self._by_network), ("everybody", self._by_all))
        for (scope, limit), window in zip(limits, windows, strict=True):
            if window.used - hashes <= limit.quota < window.used:
                self._metrics.alerts.labels(scope).inc()
                log.warning("discovery.alert", scope=scope, hashes=window.used)
