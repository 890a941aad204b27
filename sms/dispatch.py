"""Dispatch of one send: one call of one provider, with its outcome measured, logged and mapped to a problem.

An unexpected error never counts as "not sent": the provider may have the message by then.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

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

#: Retry-After of a provider that does not give one.
DEFAULT_RETRY_SECONDS = 30


@dataclass(frozen=True)
class Dispatcher:
    """Calls providers and tells the router which of them are unavailable."""

    providers: Mapping[str, Provider]
    router: Router
    metrics: SmsMetrics

    def dispatch(self, provider: str, message: SmsMessage) -> Outcome:
        """Send a message through a provider, outside of any transaction, and return the outcome."""
        started = time.perf_counter()
        try:
            outcome = Outcome("sent", provider_message_id=self.providers[provider].send(message))
            self.router.mark_available(provider)
        except Ambiguous as failure:
            outcome = Outcome("unknown", error_code=failure.error_code)
        except SendFailure as failure:
            outcome = Outcome("failed", error_code=failure.error_code, problem=_problem(failure))
            if isinstance(failure, Unavailable):
                self.router.mark_unavailable(provider, failure.retry_after)
        except Exception as error:
            # The provider may have the message by now, so it must not be sent again.
            log.error("send.unexpected", error=type(error).__name__, provider=provider)
            outcome = Outcome("unknown", error_code=type(error).__name__[:32])
        seconds = time.perf_counter() - started
        label = outcome.problem.code if outcome.problem else outcome.status
        self.metrics.sends.labels(provider, message.channel, label).inc()
        self.metrics.send_seconds.labels(provider).observe(seconds)
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


def _problem(failure: SendFailure) -> Problem:
    if isinstance(failure, Rejected):
        return SendRejected(
            "The provider says it cannot receive this; check the number or ask for a call."
        )
    if isinstance(failure, Blocked):
        return SendBlocked("The provider does not deliver to this destination.")
    retry_after = failure.retry_after or DEFAULT_RETRY_SECONDS
    return SendUnavailable("Nothing was sent; try again in a moment.", retry_after=retry_after)
