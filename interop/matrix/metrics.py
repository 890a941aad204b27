"""Metrics of the Matrix adapter."""

from core.metrics import Metrics


class MatrixMetrics:
    """The metrics of this adapter."""

    def __init__(self, metrics: Metrics) -> None:
        self.homeserver_requests = metrics.counter(
            "kith_matrix_homeserver_requests",
            "Requests to homeservers, for the owner of an OpenID token or for server keys, by outcome.",
            "outcome",
        )
