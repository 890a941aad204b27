"""What a push provider is: what it receives, and how it fails. `waker.py` decides what follows a failure."""

from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

import structlog

from core.http_client import HttpClient, HttpResponse, RequestFailed
from messaging.push.settings import PushName

log = structlog.get_logger()

#: All that is ever sent; a woken device asks the service itself.
CONTENT = {"type": "messages.waiting"}
#: A newer wake-up under this name replaces one that was not delivered yet.
TOPIC = "messages"
#: Seconds for which a provider keeps a wake-up of an unreachable device.
TTL_SECONDS = 86_400
#: Seconds to connect, and between bytes of an answer.
TIMEOUT_SECONDS = (5.0, 10.0)


@dataclass(frozen=True)
class PushTarget:
    """A device to wake; `address` is an endpoint or a provider's token, and empty for the webhook."""

    account_id: UUID
    device_id: UUID
    address: str = field(default="", repr=False)
    p256dh: bytes | None = field(default=None, repr=False)
    auth: bytes | None = field(default=None, repr=False)


FailureOutcome = Literal["unavailable", "unknown", "refused"]


class SubscriptionGone(Exception):
    """The provider says that the address no longer exists."""


class WakeupFailed(Exception):
    """The device was not woken, or perhaps it was; `retry_after` is in seconds.

    unavailable: not now. unknown: the answer was lost, and the device may be woken twice. refused: the
    operator has to change the configuration.
    """

    def __init__(self, outcome: FailureOutcome, *, retry_after: int | None = None) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.retry_after = retry_after


class PushProvider(Protocol):
    """Wakes one device; built once, used by many threads at the same time."""

    name: PushName

    def wake(self, target: PushTarget) -> None:
        """Wake a device; raises SubscriptionGone or WakeupFailed."""
        ...


def request(client: HttpClient, url: str, body: bytes, headers: dict[str, str]) -> HttpResponse:
    """Post once and return the response, whatever its status; raises WakeupFailed if there is none."""
    try:
        return client.request("POST", url, data=body, headers=headers)
    except RequestFailed as failure:
        raise WakeupFailed("unknown" if failure.maybe_processed else "unavailable") from None


def failed_request(
    provider: PushName, status: int, retry_after: int | None, reason: str | None = None
) -> WakeupFailed:
    """Return the failure of an answer: unavailable, or refused, which is logged.

    reason: text of the provider's, from a bounded set or cut.
    """
    if status == 429 or status >= 500:
        return WakeupFailed("unavailable", retry_after=retry_after)
    log.warning("push.refused", provider=provider, status=status, reason=reason)
    return WakeupFailed("refused", retry_after=retry_after)
