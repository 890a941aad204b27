"""When a verification may send its code again, by text or by call; computed from its own sends alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sms.provider import Channel

#: After the n-th text or call the next one is possible after the n-th wait.
SMS_WAITS = tuple(timedelta(seconds=s) for s in (60, 120, 300, 600))
CALL_WAITS = tuple(timedelta(seconds=s) for s in (60, 120))
#: After the first text, how soon a first call is possible, and the other way round.
OTHER_CHANNEL_AFTER = timedelta(seconds=60)
MAX_CALLS = 1 + len(CALL_WAITS)


@dataclass(frozen=True)
class SendHistory:
    """What a verification has sent so far."""

    created_at: datetime
    expires_at: datetime
    sms_count: int
    call_count: int
    last_sms_at: datetime | None
    last_call_at: datetime | None

    def next_at(self, channel: Channel) -> datetime | None:
        """Return when the next text or call is possible; None if none is within the lifetime."""
        if channel == "sms":
            count, last, waits = self.sms_count, self.last_sms_at, SMS_WAITS
        else:
            count, last, waits = self.call_count, self.last_call_at, CALL_WAITS
        at: datetime | None = None
        if count == 0:
            at = self.created_at + OTHER_CHANNEL_AFTER
        elif last is not None and count <= len(waits):
            at = last + waits[count - 1]
        return at if at is not None and at < self.expires_at else None

    def seconds_until(self, channel: Channel, now: datetime) -> int | None:
        """Return `next_at` in whole seconds from now: 0 is now, None is never."""
        at = self.next_at(channel)
        if at is None or now >= self.expires_at:
            return None
        return max(0, -((now - at) // timedelta(seconds=1)))
