"""What every provider implements, and the four ways in which a send fails."""

import re
from dataclasses import dataclass, field
from typing import Literal, Protocol

Channel = Literal["sms", "voice"]
BOTH: frozenset[Channel] = frozenset({"sms", "voice"})
_MESSAGE_ID = re.compile(r"[!-~]{1,64}")


@dataclass(frozen=True)
class SmsMessage:
    """One text or call: `to` is E.164; `body` is the text, or what the call says, in writing."""

    to: str = field(repr=False)
    channel: Channel
    body: str = field(repr=False)
    #: BCP 47 language of the body, for the voice that speaks it.
    language: str
    #: Opaque name of this send; delivery reports are addressed to it.
    reference: str
    #: The parts of a call between which the voice makes a pause; a digit is one of them.
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
    """Nothing was sent: the provider is down, busy or refuses our account; others may work."""

    outcome = "unavailable"


class Ambiguous(SendFailure):
    """It may have been sent: the answer was lost. Never sent again."""

    outcome = "unknown"


class Provider(Protocol):
    """Sends one message; built once, used by many requests at the same time."""

    name: str
    #: What it can carry; the router asks it for nothing else.
    channels: frozenset[Channel]

    def send(self, message: SmsMessage) -> str:
        """Send one message and return the provider's id of it; raises SendFailure."""
        ...


def checked_message_id(value: object) -> str:
    """Return a provider's id of a message if it is 1 to 64 visible ASCII characters.

    Raises Ambiguous for anything else: a provider that answers so has accepted the request.
    """
    if not isinstance(value, str) or not _MESSAGE_ID.fullmatch(value):
        raise Ambiguous("answer-unreadable")
    return value
