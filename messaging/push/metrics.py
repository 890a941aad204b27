"""Metrics of push."""

from core.metrics import Metrics


class PushMetrics:
    """The metrics of push wake-ups."""

    def __init__(self, metrics: Metrics) -> None:
        self.wakeups = metrics.counter(
            "kith_push_wakeups",
            "Wake-ups of devices: woken, gone, unavailable, unknown, refused.",
            "provider",
            "outcome",
        )
        self.due = metrics.gauge(
            "kith_push_wakeups_due",
            "Wake-ups that are due and not in progress, as of the last minute.",
            "provider",
            merged="livemostrecent",
        )
