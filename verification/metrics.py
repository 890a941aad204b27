"""Metrics of verifications and of the abuse policy."""

from prometheus_client import Counter

from core.metrics import Metrics


class VerificationMetrics:
    """The metrics of this part, and the funnel of `sms/` in which it counts refusals."""

    def __init__(self, metrics: Metrics, funnel: Counter) -> None:
        self.funnel = funnel
        self.verifications = metrics.counter(
            "kith_verifications",
            "Steps of verifications: started, verified, code_rejected, registered.",
            "step",
        )
        self.test_numbers = metrics.counter(
            "kith_test_numbers",
            "Verifications of test numbers started, which are among the others too.",
        )
        self.policy_decisions = metrics.counter(
            "kith_policy_decisions", "Decisions on texts and calls, by verdict.", "verdict"
        )
        self.rule_results = metrics.counter(
            "kith_policy_rule_results",
            "Rules that did not allow a text or a call, enforced or only recorded.",
            "rule",
            "verdict",
            "mode",
        )
