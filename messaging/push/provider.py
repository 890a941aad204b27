"""The seam to whoever wakes devices: one file a provider.

Owns what a provider is given and the ways in which it fails. What comes of a failure is for
`messaging/push/waker.py`.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

import structlog

from core.http_client import HttpClient, HttpResponse, RequestFailed
from messaging.push.settings import PushName

log = structlog.get_logger()

#: All that is ever said; a device that is woken asks the service itself.
CONTENT = {"type": "messages.waiting"}
#: Under this name a newer wake-up takes the place of one that was not delivered yet.
TOPIC = "messages"
#: Seconds a provider keeps a wake-up for a device that is out of reach.
LIFETIME = 86_400
#: Seconds to connect, and between bytes of an answer.
TIMEOUTS = (5.0, 10.0)


@dataclass(frozen=True)
class Target:
    """A device to wake; `address` is an endpoint or a provider's token, and empty for the webhook."""

    account_id: UUID
    device_id: UUID
    address: str = field(default="", repr=False)
    p256dh: bytes | None = field(default=None, repr=False)
    auth: bytes | None = field(default=None, repr=False)


FailureOutcome = Literal["unavailable", "unknown", "refused"]


class Gone(Exception):
    """The address leads nowhere any more, by word of the provider."""


class Failed(Exception):
    """The device was not woken, or perhaps it was; `retry_after` is in seconds.

    unavailable: not now. unknown: the answer was lost; waking twice harms nobody. refused: we are
    doing something wrong, which the operator has to mend.
    """

    def __init__(self, outcome: FailureOutcome, *, retry_after: int | None = None) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.retry_after = retry_after


class PushProvider(Protocol):
    """Wakes one device; built once, used by many threads at the same time."""

    name: PushName

    def wake(self, target: Target) -> None:
        """Wake a device; raises Gone or Failed."""
        ...


def request(client: HttpClient, url: str, body: bytes, headers: dict[str, str]) -> HttpResponse:
    """Post once and return the response, whatever its status; raises Failed if there is none."""
    try:
        return client.request("POST", url, data=body, headers=headers)
    except RequestFailed as failure:
        raise Failed("unknown" if failure.maybe_processed else "unavailable") from None


def failure(
    provider: PushName, status: int, retry_after: int | None, reason: str | None = None
) -> Failed:
    """Tell a provider that is overloaded or broken from one that refuses us, which is logged.

    reason: a word of the provider's, from a bounded set or cut.
    """
    if status == 429 or status >= 500:
        return Failed("unavailable", retry_after=retry_after)
    log.warning("push.refused", provider=provider, status=status, reason=reason)
    return Failed("refused", retry_after=retry_after)
