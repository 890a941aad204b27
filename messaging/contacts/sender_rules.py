"""Judging: whether a message reaches the account it is for, and as what.

Owns the verdicts on messages from an account to another or to a group, for a whole batch in the transaction
that stores it, and how much is counted for them. Refuses more messages than a sender may write, to everybody,
to one, to a stranger and to how many of those. Never tells a sender that she is blocked: what is dropped
is counted, limited and answered as if it were delivered.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core import rate_limits
from core.clock import EPOCH
from core.rate_limits import RateLimit, WindowCharge
from core.secrets import DIGEST_SIZE
from messaging.contacts.service import (
    WIRE_STATES,
    ContactState,
    Relation,
    accept_recipients,
    relations_of,
)
from messaging.limits import MessageLimits
from messaging.mailbox.problems import MessageRateLimited, RecipientBlocked
from messaging.message_types import DeliveryDecision, SenderRecipient

_DELIVERED, _REQUEST = DeliveryDecision(), DeliveryDecision(is_request=True)
# Of a blocked sender the share is asked for that was theirs before, or a full one would tell.
_DROPPED = {
    ContactState.BLOCKED: DeliveryDecision(dropped=True, is_request=True),
    ContactState.BLOCKED_AFTER_ACCEPTED: DeliveryDecision(dropped=True),
    ContactState.BLOCKED_NUMBER: DeliveryDecision(dropped=True, is_request=True),
}
_IN_TOUCH = (ContactState.ACCEPTED, ContactState.BLOCKED_AFTER_ACCEPTED)
_AMONG_MEMBERS = Relation(ContactState.ACCEPTED, ContactState.ACCEPTED)
_WHY = {
    "messages": "This account has written as much as it may in a minute.",
    "messages-to-recipient": "This account has written to one account or group as much as it may"
    " in a minute.",
    "messages-to-new-recipient": "The recipient has not answered; until then this was all for a day.",
    "new-recipients": "This account has written to as many strangers as it may in a day.",
}


@dataclass(slots=True)
class _Window:
    """One limit of one subject: what a batch counted in it, and how much of that had room."""

    limit: RateLimit
    subject: bytes
    counted: int = 0
    room: int = 0
    passed: int = 0
    ends_at: datetime = EPOCH


#: By the limit's name and the subject, so that each is counted once a batch.
_Windows = dict[tuple[str, bytes], _Window]


class SenderRules:
    """Judges messages by who is in touch with whom, and by limits."""

    def __init__(self, limits: MessageLimits) -> None:
        self._limits = limits

    def judge(
        self, connection: Connection, attempts: Sequence[SenderRecipient], now: datetime
    ) -> list[DeliveryDecision]:
        """Judge a batch of messages to accounts and groups; give the verdict on each, in their order.

        Who may write to a group was judged before; here it is limited as one recipient is. Who writes to
        somebody is in touch with her from then on. A refused message counts in no limit.
        """
        shares = Counter(attempts)
        standings = relations_of(connection, [one for one in shares if not one.is_group])
        standings |= {one: _AMONG_MEMBERS for one in shares if one.is_group}
        verdicts = {attempt: _verdict(standing) for attempt, standing in standings.items()}
        for attempt, verdict in verdicts.items():
            if verdict.refusal is not None:
                del shares[attempt]
        rations, windows = self._count(connection, shares, standings, now)
        if all(window.counted <= window.room for window in windows):
            judged = [verdicts[attempt] for attempt in attempts]
            passed = list(rations)
        else:
            judged = [
                (attempt in rations and _ration(rations[attempt], now)) or verdicts[attempt]
                for attempt in attempts
            ]
            passed = [attempt for attempt, (_, pair, *_) in rations.items() if pair.passed]
            _take_back(connection, windows)
        met = [attempt for attempt in passed if standings[attempt].sender is None]
        accept_recipients(connection, met, now)
        return judged

    def _count(
        self,
        connection: Connection,
        shares: Mapping[SenderRecipient, int],
        standings: Mapping[SenderRecipient, Relation],
        now: datetime,
    ) -> tuple[dict[SenderRecipient, list[_Window]], list[_Window]]:
        """Count all messages of a batch, whether or not there is room for them.

        Gives the windows that a message counts in, by who writes to whom, and all of them.
        """
        limits = self._limits
        counted: _Windows = {}
        rations: dict[SenderRecipient, list[_Window]] = {}
        for attempt, count in shares.items():
            in_touch = standings[attempt].recipient in _IN_TOUCH
            limit = limits.to_recipient if in_touch else limits.to_new_recipient
            rations[attempt] = [
                _window(counted, limits.messages, attempt.subject.bytes, count),
                _window(counted, limit, _digest(attempt), count),
            ]
        _add(connection, [*counted.values()], now)
        strangers: _Windows = {}
        for attempt, ration in rations.items():
            pair = ration[1]
            if pair.limit is limits.to_new_recipient and pair.room == pair.limit.quota:
                # The first message to this stranger for a day.
                subject = attempt.subject.bytes
                ration.append(_window(strangers, limits.new_recipients, subject, 1))
        _add(connection, [*strangers.values()], now)
        return rations, [*counted.values(), *strangers.values()]


def _verdict(standing: Relation) -> DeliveryDecision:
    if standing.sender in WIRE_STATES["blocked"]:
        return DeliveryDecision(
            RecipientBlocked("Nothing was sent; accept it first, or forget it.")
        )
    if standing.recipient in _DROPPED:
        return _DROPPED[ContactState(standing.recipient)]
    return _REQUEST if standing.recipient is None else _DELIVERED


def _digest(attempt: SenderRecipient) -> bytes:
    ids = attempt.subject.bytes + attempt.to_id.bytes
    return hashlib.sha256(ids).digest()[:DIGEST_SIZE]


def _window(windows: _Windows, limit: RateLimit, subject: bytes, count: int) -> _Window:
    """Give the window of a subject, with so much more in it."""
    key = limit.name, subject
    window = windows.get(key)
    if window is None:
        window = windows[key] = _Window(limit, subject)
    window.counted += count
    return window


def _add(connection: Connection, windows: list[_Window], now: datetime) -> None:
    """Count what windows have, and note how much of it has room."""
    if not windows:
        return
    # In one order everywhere, so that no batch waits for another in a circle.
    windows.sort(key=lambda window: (window.limit.name, window.subject))
    amounts = [window.limit.charge(window.subject, window.counted, now) for window in windows]
    for window, held in zip(
        windows, rate_limits.add_to_windows(connection, amounts, now), strict=True
    ):
        window.room = window.limit.quota - held.used + window.counted
        window.ends_at = held.ends_at


def _ration(ration: list[_Window], now: datetime) -> DeliveryDecision | None:
    """Let one message pass if each of its windows has room; give the refusal if one has none."""
    for window in ration:
        if window.passed >= window.room:
            return _refusal(window, now)
    for window in ration:
        window.passed += 1
    # A stranger counts once, with the first message that passes.
    del ration[2:]
    return None


def _take_back(connection: Connection, windows: list[_Window]) -> None:
    """Take back what was counted for messages that did not pass."""
    amounts = [
        WindowCharge(
            window.limit.name, window.subject, window.passed - window.counted, window.ends_at
        )
        for window in windows
        if window.passed < window.counted
    ]
    rate_limits.adjust_windows(connection, amounts)


def _refusal(window: _Window, now: datetime) -> DeliveryDecision:
    limit = window.limit
    wait = math.ceil((window.ends_at - now).total_seconds())
    return DeliveryDecision(MessageRateLimited(_WHY[limit.name], rate_limit=limit.status(0, wait)))
