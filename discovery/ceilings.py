"""Ceilings: how many new hashes a network, and everybody together, ask about in a day.

Owns two counts that raise an alarm and refuse nobody: who enumerates with many numbers stays within
each number's budget, and is seen here.
"""

from datetime import datetime

import structlog
from sqlalchemy import Connection

from core import limits
from core.limits import DAY, Limit
from core.metrics import Metrics
from core.secrets import Keyring
from core.settings import Settings

log = structlog.get_logger()

EVERYBODY = bytes(16)


class Ceilings:
    """Counts what was charged, and tells when a day's count passes its ceiling."""

    def __init__(self, settings: Settings, keyring: Keyring, metrics: Metrics) -> None:
        self._network = Limit(
            "discovery-network", settings.discovery_network_ceiling, DAY, refills=False
        )
        self._everybody = Limit("discovery-all", settings.discovery_ceiling, DAY, refills=False)
        self._keyring = keyring
        self._metrics = metrics

    def count(self, connection: Connection, requester: str, hashes: int, now: datetime) -> None:
        """Count hashes that were paid for; the last thing in a transaction, for many share a row."""
        network = self._keyring.digest("requester", requester)
        for scope, limit, subject in (
            ("network", self._network, network),
            ("everybody", self._everybody, EVERYBODY),
        ):
            used = limits.add(connection, limit, subject, hashes, now)
            if used - hashes <= limit.capacity < used:
                self._metrics.ceilings.labels(scope).inc()
                log.warning("discovery.ceiling", scope=scope, hashes=used)
