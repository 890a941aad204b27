"""One hand-over: a provider is called, once, and how that ended is told, timed, counted and logged.

Owns what each failure means for the client. Refuses to take an unknown fault for a send that did not
happen: whatever it was, the provider may have the message by now.
"""

import time
from collections.abc import Sequence

import structlog

from core.phone_numbers import mask
from core.problems import Problem
from sms.delivery import Outcome
from sms.metrics import SmsMetrics
from sms.problems import SendBlocked, SendRejected, SendUnavailable
from sms.provider import (
    Ambiguous,
    Blocked,
    Provider,
    Rejected,
    SendFailure,
    SmsMessage,
    Unavailable,
)
from sms.routing import Router

log = structlog.get_logger()

#: Seconds after which a provider that did not say when it is back is worth another try.
DEFAULT_RETRY = 30


class Dispatcher:
    """Calls providers, and lets the router know who is away."""

    def __init__(self, providers: Sequence[Provider], router: Router, metrics: SmsMetrics) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._router = router
        self._metrics = metrics

    def hand_over(self, provider: str, message: SmsMessage) -> Outcome:
        """Call a provider, outside of any transaction, and say how it ended."""
        started = time.perf_counter()
        try:
            outcome = Outcome("sent", provider_message_id=self._providers[provider].send(message))
            self._router.came_back(provider)
        except Ambiguous as fault:
            outcome = Outcome("unknown", error_code=fault.error_code)
        except SendFailure as fault:
            outcome = Outcome("failed", error_code=fault.error_code, failure=_problem(fault))
            if isinstance(fault, Unavailable):
                self._router.went_away(provider, fault.retry_after)
        except Exception as error:
            # The provider may have it by now, so whatever this was, it is not sent again.
            log.error("send.unexpected", error=type(error).__name__, provider=provider)
            outcome = Outcome("unknown", error_code=type(error).__name__[:32])
        seconds = time.perf_counter() - started
        label = outcome.failure.code if outcome.failure else outcome.status
        self._metrics.sends.labels(provider, message.channel, label).inc()
        self._metrics.send_seconds.labels(provider).observe(seconds)
        log.info(
            "send",
            to=mask(message.to),
            channel=message.channel,
            provider=provider,
            outcome=label,
            error_code=outcome.error_code,
            ms=round(seconds * 1000, 1),
        )
        return outcome


def _problem(fault: SendFailure) -> Problem:
    if isinstance(fault, Rejected):
        return SendRejected(
            "The provider says it cannot receive this; check the number or ask for a call."
        )
    if isinstance(fault, Blocked):
        return SendBlocked("The provider does not deliver to this destination.")
    return SendUnavailable(
        "Nothing was sent; try again in a moment.", retry_after=fault.retry_after or DEFAULT_RETRY
    )
