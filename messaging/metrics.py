"""Metrics of messages, keys, the stream, and Valkey; those of push are in push/metrics.py."""

from core.metrics import Metrics


class MessagingMetrics:
    """The metrics of this part."""

    def __init__(self, metrics: Metrics) -> None:
        self.envelopes = metrics.counter(
            "kith_envelopes", "Envelopes stored, dropped, acknowledged and expired.", "step"
        )
        self.prekeys = metrics.counter(
            "kith_prekeys",
            "Prekeys in bundles: one-time, the last resort, or none.",
            "kind",
            "source",
        )
        self.valkey_up = metrics.gauge(
            "kith_valkey_up", "Workers that are connected to Valkey.", merged="livesum"
        )
        self.valkey_connections = metrics.counter(
            "kith_valkey_connections", "Connections made to Valkey."
        )
        self.valkey_notifications = metrics.counter(
            "kith_valkey_notifications",
            "Notifications to and from other workers: published, received, dropped, invalid.",
            "step",
        )
        self.commit_jobs = metrics.histogram(
            "kith_message_commit_jobs",
            "Messages and acknowledgements stored by one transaction.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        )
        self.commit_seconds = metrics.histogram(
            "kith_message_commit_seconds",
            "Seconds of a transaction that stores messages and acknowledgements.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )
        self.commits_waiting = metrics.gauge(
            "kith_message_commits_waiting",
            "Messages and acknowledgements that wait for the next transaction.",
            merged="livesum",
        )
        self.sockets = metrics.gauge(
            "kith_stream_sockets", "Open sockets of the stream.", merged="livesum"
        )
        self.closed_sockets = metrics.counter(
            "kith_stream_closed",
            "Sockets that ended: close code of the service, `client`, or `nobody` when it was lost.",
            "by",
        )
        self.frames = metrics.counter(
            "kith_stream_frames", "Frames of the stream, in and out.", "direction", "type"
        )
