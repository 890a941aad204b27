"""Metrics of sending: sends, delivery reports, the SMSC, and the funnel by country."""

from core.metrics import Metrics


class SmsMetrics:
    """The metrics of this part."""

    def __init__(self, metrics: Metrics) -> None:
        self.sends = metrics.counter(
            "kith_sends",
            "Texts and calls handed to a provider, by outcome.",
            "provider",
            "channel",
            "outcome",
        )
        self.send_seconds = metrics.histogram(
            "kith_send_seconds",
            "Seconds a provider took to answer.",
            "provider",
            buckets=(0.005, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30),
        )
        self.deliveries = metrics.counter(
            "kith_deliveries",
            "Delivery reports that changed the status of a send.",
            "provider",
            "status",
        )
        self.smpp_bound = metrics.gauge(
            "kith_smpp_bound", "Workers that are bound to the SMSC.", merged="livesum"
        )
        self.smpp_messages = metrics.counter(
            "kith_smpp_messages", "Messages that the SMSC delivered to us, by kind.", "kind"
        )
        self.funnel = metrics.counter(
            "kith_funnel",
            "Verifications started, refused and verified, texts and calls sent and delivered.",
            "step",
            "country",
            "provider",
        )
        self.spent_micros = metrics.counter(
            "kith_spent_micros",
            "Price of what was sent, in millionths of the routing file's currency.",
            "country",
            "provider",
        )
        self.seconds_to_verify = metrics.histogram(
            "kith_seconds_to_verify",
            "Seconds from the first text or call of a verification to its right code.",
            "country",
            buckets=(5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600),
        )
