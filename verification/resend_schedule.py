"""When a verification may send again: derived from its own history, with no other state.

After the n-th text the next may follow n-th wait later; a call from a minute after the first text.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sms.provider import Channel

SMS_WAITS = tuple(timedelta(seconds=s) for s in (60, 120, 300, 600))
CALL_WAITS = tuple(timedelta(seconds=s) for s in (60, 120))
FIRST_CALL_AFTER = timedelta(seconds=60)
MAX_CALLS = 1 + len(CALL_WAITS)


@dataclass(frozen=True)
class History:
    """What a verification sent so far."""

    created_at: datetime
    expires_at: datetime
    sms_count: int
    call_count: int
    last_sms_at: datetime | None
    last_call_at: datetime | None

    def next_at(self, channel: Channel) -> datetime | None:
        """Say when the next text or call may be asked for; None when no more come in its lifetime."""
        if channel == "sms":
            at = _after(self.last_sms_at, self.sms_count, SMS_WAITS)
            if self.sms_count == 0:
                at = self.created_at + FIRST_CALL_AFTER
        else:
            at = _after(self.last_call_at, self.call_count, CALL_WAITS)
            if self.call_count == 0:
                at = self.created_at + FIRST_CALL_AFTER
        return at if at is not None and at < self.expires_at else None

    def seconds_until(self, channel: Channel, now: datetime) -> int | None:
        """Say in how many whole seconds that is: 0 is now, None is never."""
        at = self.next_at(channel)
        if at is None or now >= self.expires_at:
            return None
        return max(0, -((now - at) // timedelta(seconds=1)))


def _after(last: datetime | None, count: int, waits: tuple[timedelta, ...]) -> datetime | None:
    if last is None or not 1 <= count <= len(waits):
        return None
    return last + waits[count - 1]
