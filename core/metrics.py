"""Prometheus metrics of the service; labels come from bounded sets only, never from a request.

Owns the registry, so that two applications in one process do not share counts.
"""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

#: Names the directory in which several workers put their counts together (gunicorn.conf.py).
SHARED = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """All metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "kith_http_requests",
            "Requests answered, by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "kith_http_request_seconds",
            "Seconds to answer, by route.",
            ["route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
            registry=self.registry,
        )
        self.refused_connections = Counter(
            "kith_connections_refused",
            "Connections refused or cut, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.problems = Counter(
            "kith_problems",
            "Refusals, by problem code.",
            ["code"],
            registry=self.registry,
        )
        self.verifications = Counter(
            "kith_verifications",
            "Steps of verifications: started, verified, code_rejected, registered.",
            ["step"],
            registry=self.registry,
        )
        self.test_numbers = Counter(
            "kith_test_numbers",
            "Verifications of test numbers started, which are among the others too.",
            registry=self.registry,
        )
        self.sends = Counter(
            "kith_sends",
            "Texts and calls handed to a provider, by outcome.",
            ["provider", "channel", "outcome"],
            registry=self.registry,
        )
        self.send_seconds = Histogram(
            "kith_send_seconds",
            "Seconds a provider took to answer.",
            ["provider"],
            buckets=(0.005, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30),
            registry=self.registry,
        )
        self.policy_decisions = Counter(
            "kith_policy_decisions",
            "Decisions on texts and calls, by verdict.",
            ["verdict"],
            registry=self.registry,
        )
        self.policy_findings = Counter(
            "kith_policy_findings",
            "What rules had against texts and calls, whether it was enforced or only recorded.",
            ["rule", "verdict", "mode"],
            registry=self.registry,
        )
        self.deliveries = Counter(
            "kith_deliveries",
            "Delivery reports that changed what is known of a send.",
            ["provider", "status"],
            registry=self.registry,
        )
        self.smpp_bound = Gauge(
            "kith_smpp_bound",
            "Workers that are bound to the SMSC.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.smpp_messages = Counter(
            "kith_smpp_messages",
            "What the SMSC delivered to us, by what it was.",
            ["kind"],
            registry=self.registry,
        )
        self.funnel = Counter(
            "kith_funnel",
            "Verifications started, refused and verified, texts and calls sent and delivered.",
            ["step", "country", "provider"],
            registry=self.registry,
        )
        self.spent_micros = Counter(
            "kith_spent_micros",
            "Price of what was sent, in millionths of the routing file's currency.",
            ["country", "provider"],
            registry=self.registry,
        )
        self.seconds_to_verify = Histogram(
            "kith_seconds_to_verify",
            "Seconds from the first text or call of a verification to its right code.",
            ["country"],
            buckets=(5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600),
            registry=self.registry,
        )
        self.looked_up = Counter(
            "kith_discovery_hashes", "Hashes looked up.", registry=self.registry
        )
        self.matched = Counter(
            "kith_discovery_matches", "Hashes that were people.", registry=self.registry
        )
        self.charged = Counter(
            "kith_discovery_charged_hashes", "Hashes charged to budgets.", registry=self.registry
        )
        self.usage_alerts = Counter(
            "kith_discovery_alerts",
            "Daily counts of new hashes that passed their alert, of a network or of all.",
            ["scope"],
            registry=self.registry,
        )
        self.pages = Counter(
            "kith_discovery_pages",
            "Lookups by what answered them: snapshot or table.",
            ["source"],
            registry=self.registry,
        )
        self.snapshots = Counter(
            "kith_discovery_snapshots",
            "Snapshots built, adopted, or found unusable, by reason.",
            ["outcome"],
            registry=self.registry,
        )
        self.homeservers = Counter(
            "kith_matrix_homeserver_questions",
            "Questions to homeservers whose OpenID token it is or which keys are theirs, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.envelopes = Counter(
            "kith_envelopes",
            "Envelopes stored, dropped, acknowledged and expired.",
            ["step"],
            registry=self.registry,
        )
        self.prekeys = Counter(
            "kith_prekeys",
            "Prekeys in bundles: for one session, the last resort, or none where there was none.",
            ["kind", "source"],
            registry=self.registry,
        )
        self.pushes = Counter(
            "kith_push_wakeups",
            "Wake-ups of devices: woken, gone, unavailable, unknown, refused.",
            ["provider", "outcome"],
            registry=self.registry,
        )
        self.pushes_due = Gauge(
            "kith_push_due",
            "Wake-ups that are due and not under way, as of the last minute.",
            ["provider"],
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        self.bus_up = Gauge(
            "kith_bus_up",
            "Workers that are connected to Valkey.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.bus_connections = Counter(
            "kith_bus_connections", "Connections made to Valkey.", registry=self.registry
        )
        self.bus_notifications = Counter(
            "kith_bus_notifications",
            "Notifications to and from other workers: published, received, dropped, invalid.",
            ["step"],
            registry=self.registry,
        )
        self.commit_jobs = Histogram(
            "kith_message_commit_jobs",
            "Messages and acknowledgements stored by one transaction.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "kith_message_commit_seconds",
            "Seconds of a transaction that stores messages and acknowledgements.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self.registry,
        )
        self.commits_waiting = Gauge(
            "kith_message_commits_waiting",
            "Messages and acknowledgements that wait for the next transaction.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.sockets = Gauge(
            "kith_stream_sockets",
            "Sockets of the stream that are open.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.closed_sockets = Counter(
            "kith_stream_closed",
            "Sockets that ended: close code of the service, client, or nobody when it was lost.",
            ["by"],
            registry=self.registry,
        )
        self.frames = Counter(
            "kith_stream_frames",
            "Frames of the stream, in and out.",
            ["direction", "type"],
            registry=self.registry,
        )
        self.storage_reserve = Gauge(
            "kith_storage_reserve",
            "1 while only the reserve of the disk is left, so that what only adds is refused.",
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.purged = Counter(
            "kith_purged_rows",
            "Rows deleted by maintenance, by job.",
            ["job"],
            registry=self.registry,
        )

    def render(self) -> bytes:
        """Give the text exposition format, of all workers together."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
