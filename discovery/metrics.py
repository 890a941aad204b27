"""Metrics of lookups and of the directory's snapshot."""

from core.metrics import Metrics


class DiscoveryMetrics:
    """The metrics of this part."""

    def __init__(self, metrics: Metrics) -> None:
        self.hashes = metrics.counter("kith_discovery_hashes", "Hashes looked up.")
        self.matches = metrics.counter("kith_discovery_matches", "Hashes that matched a person.")
        self.charged = metrics.counter(
            "kith_discovery_charged_hashes", "Hashes charged to budgets."
        )
        self.alerts = metrics.counter(
            "kith_discovery_alerts",
            "Daily counts of new hashes that passed their alert, of a network or of all.",
            "scope",
        )
        self.pages = metrics.counter(
            "kith_discovery_pages", "Lookups by what answered them: snapshot or table.", "source"
        )
        self.snapshots = metrics.counter(
            "kith_discovery_snapshots",
            "Snapshots built, adopted, or found unusable, by reason.",
            "outcome",
        )
