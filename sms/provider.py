"""The seam to whoever sends texts: what a provider is given and the four ways a send can end.

Owns the vocabulary. A provider writes only the call itself: it returns, or raises one of these.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

Channel = Literal["sms", "voice"]
BOTH: frozenset[Channel] = frozenset({"sms", "voice"})


@dataclass(frozen=True)
class Message:
    """One text or call: `to` is E.164; `body` is the text, or what the call says, to be read."""

    to: str = field(repr=False)
    channel: Channel
    body: str = field(repr=False)
    #: BCP 47 language of the body, for the voice that speaks it.
    language: str
    #: Opaque name of this send, for the address of delivery reports.
    reference: str
    #: What a call says, in the parts between which the voice makes a pause; a digit is one of them.
    spoken: tuple[str, ...] = field(default=(), repr=False)


class SendFailure(Exception):
    """The send ended without a receipt; `error_code` is the provider's own, for operators."""

    outcome = "failed"

    def __init__(self, error_code: str | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(error_code)
        self.error_code = error_code
        self.retry_after = retry_after


class Rejected(SendFailure):
    """Nothing was sent: this number cannot receive it (unreachable, not a mobile, opted out)."""

    outcome = "rejected"


class Blocked(SendFailure):
    """Nothing was sent: the provider forbids this destination (country, fraud, content)."""

    outcome = "blocked"


class Unavailable(SendFailure):
    """Nothing was sent: the provider is away, too busy or refuses our account; others may work."""

    outcome = "unavailable"


class Ambiguous(SendFailure):
    """It may have been sent: the answer was lost. Never to be replayed."""

    outcome = "unknown"


class Provider(Protocol):
    """Sends one message; built once, used by many requests at the same time."""

    name: str
    #: What it can carry; the router asks it for nothing else.
    channels: frozenset[Channel]

    def send(self, message: Message) -> str:
        """Hand over one message and give the provider's id of it; raises SendFailure."""
        ...
