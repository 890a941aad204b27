"""Prometheus metrics: the registry of one application, and the metrics of core.

Each part declares its own metrics in its `metrics.py`. Labels come from bounded sets, never from a request.
"""

import os
from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

#: The variable that names the directory in which several workers share their metrics (gunicorn.conf.py).
SHARED = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """The registry of one application, so that two in one process do not share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self.counter(
            "kith_http_requests",
            "Requests answered, by route and status.",
            "method",
            "route",
            "status",
        )
        self.request_seconds = self.histogram(
            "kith_http_request_seconds",
            "Seconds to answer, by route.",
            "route",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
        )
        self.refused_connections = self.counter(
            "kith_connections_refused", "Connections refused or cut, by reason.", "reason"
        )
        self.problems = self.counter("kith_problems", "Refusals, by problem code.", "code")
        self.storage_reserve = self.gauge(
            "kith_storage_reserve",
            "1 while only the reserve of the disk is left, so that requests that only add are refused.",
            merged="livemax",
        )
        self.purged = self.counter(
            "kith_purged_rows", "Rows deleted by maintenance, by job.", "job"
        )

    def counter(self, name: str, description: str, *labels: str) -> Counter:
        """Register a counter."""
        return Counter(name, description, labels, registry=self.registry)

    def histogram(
        self, name: str, description: str, *labels: str, buckets: Sequence[float]
    ) -> Histogram:
        """Register a histogram."""
        return Histogram(name, description, labels, buckets=buckets, registry=self.registry)

    def gauge(
        self,
        name: str,
        description: str,
        *labels: str,
        merged: Literal["livesum", "livemax", "livemostrecent"],
    ) -> Gauge:
        """Register a gauge; merged: how the values of the workers that live become one."""
        return Gauge(name, description, labels, registry=self.registry, multiprocess_mode=merged)

    def render(self) -> bytes:
        """Return the text exposition format, of all workers together."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        merged = CollectorRegistry()
        MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
        return generate_latest(merged)
