"""Sender rules: whether a message is delivered, becomes a message request, is dropped or refused.

A whole batch is evaluated and counted in the transaction that stores it. A sender never learns that it is
blocked: dropped messages are counted, limited and answered as if they were delivered.
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
from messaging.contacts.blocked_numbers import BLOCKED_STATES
from messaging.contacts.models import ContactState
from messaging.contacts.relations import Relation, accept_recipients, relations_of
from messaging.limits import MessageLimits
from messaging.mailbox.problems import MessageRateLimited, RecipientBlocked
from messaging.message_types import DeliveryDecision, SenderRecipient

_DELIVER, _REQUEST = DeliveryDecision(), DeliveryDecision(is_request=True)
# A blocked sender keeps the mailbox quota it had before, or a full mailbox would tell it.
_DROP = {
    ContactState.BLOCKED: DeliveryDecision(dropped=True, is_request=True),
    ContactState.BLOCKED_AFTER_ACCEPTED: DeliveryDecision(dropped=True),
    ContactState.BLOCKED_NUMBER: DeliveryDecision(dropped=True, is_request=True),
}
_IN_TOUCH = (ContactState.ACCEPTED, ContactState.BLOCKED_AFTER_ACCEPTED)
_AMONG_MEMBERS = Relation(ContactState.ACCEPTED, ContactState.ACCEPTED)
_DETAILS = {
    "messages": "This account has sent the maximum number of messages in a minute.",
    "messages-to-recipient": "This account has sent the maximum number of messages to one account or group"
    " in a minute.",
    "messages-to-new-recipient": "The recipient has not answered, and was sent the maximum number of"
    " messages in a day until they do.",
    "new-recipients": "This account has written to the maximum number of new recipients in a day.",
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


#: By the name of the limit and the subject, so that each is counted once a batch.
_Windows = dict[tuple[str, bytes], _Window]


@dataclass(frozen=True)
class SenderRules:
    """Evaluates messages by the relation of sender and recipient, and by limits."""

    limits: MessageLimits

    def evaluate(
        self, connection: Connection, pairs: Sequence[SenderRecipient], now: datetime
    ) -> list[DeliveryDecision]:
        """Return the decision on each message of a batch, in their order.

        Membership in groups is checked before; here a group is limited as one recipient is. A sender accepts
        the recipients of its messages. A refused message counts in no limit.
        """
        counts = Counter(pairs)
        relations = relations_of(connection, [pair for pair in counts if not pair.is_group])
        relations |= {pair: _AMONG_MEMBERS for pair in counts if pair.is_group}
        decisions = {pair: _decide(relation) for pair, relation in relations.items()}
        for pair, decision in decisions.items():
            if decision.refusal is not None:
                del counts[pair]
        windows_of, windows = self._count(connection, counts, relations, now)
        if all(window.counted <= window.room for window in windows):
            evaluated = [decisions[pair] for pair in pairs]
            passed = list(windows_of)
        else:
            evaluated = [
                (pair in windows_of and _pass_one(windows_of[pair], now)) or decisions[pair]
                for pair in pairs
            ]
            passed = [
                pair for pair, (_, to_recipient, *_) in windows_of.items() if to_recipient.passed
            ]
            _take_back(connection, windows)
        accept_recipients(
            connection, [pair for pair in passed if relations[pair].sender is None], now
        )
        return evaluated

    def _count(
        self,
        connection: Connection,
        counts: Mapping[SenderRecipient, int],
        relations: Mapping[SenderRecipient, Relation],
        now: datetime,
    ) -> tuple[dict[SenderRecipient, list[_Window]], list[_Window]]:
        """Count all messages of a batch, whether or not there is room for them.

        Returns the windows that the messages of each sender and recipient count in, and all windows.
        """
        limits = self.limits
        windows: _Windows = {}
        windows_of: dict[SenderRecipient, list[_Window]] = {}
        for pair, count in counts.items():
            in_touch = relations[pair].recipient in _IN_TOUCH
            limit = limits.to_recipient if in_touch else limits.to_new_recipient
            windows_of[pair] = [
                _window(windows, limits.messages, pair.subject.bytes, count),
                _window(windows, limit, _digest(pair), count),
            ]
        _add(connection, [*windows.values()], now)
        new: _Windows = {}
        for pair, (_, to_recipient) in list(windows_of.items()):
            limit = to_recipient.limit
            # The first message to this new recipient for a day.
            if limit is limits.to_new_recipient and to_recipient.room == limit.quota:
                windows_of[pair].append(_window(new, limits.new_recipients, pair.subject.bytes, 1))
        _add(connection, [*new.values()], now)
        return windows_of, [*windows.values(), *new.values()]


def _decide(relation: Relation) -> DeliveryDecision:
    if relation.sender in BLOCKED_STATES:
        return DeliveryDecision(
            RecipientBlocked("Nothing was sent. Accept the account first, or forget it.")
        )
    if relation.recipient in _DROP:
        return _DROP[ContactState(relation.recipient)]
    return _REQUEST if relation.recipient is None else _DELIVER


def _digest(pair: SenderRecipient) -> bytes:
    return hashlib.sha256(pair.subject.bytes + pair.to_id.bytes).digest()[:DIGEST_SIZE]


def _window(windows: _Windows, limit: RateLimit, subject: bytes, count: int) -> _Window:
    """Return the window of a subject, with `count` more in it."""
    key = limit.name, subject
    window = windows.get(key)
    if window is None:
        window = windows[key] = _Window(limit, subject)
    window.counted += count
    return window


def _add(connection: Connection, windows: list[_Window], now: datetime) -> None:
    """Store the counts of windows, and set how much of them has room."""
    if not windows:
        return
    # In one order everywhere, so that no two batches wait for each other.
    windows.sort(key=lambda window: (window.limit.name, window.subject))
    charges = [window.limit.charge(window.subject, window.counted, now) for window in windows]
    counts = rate_limits.add_to_windows(connection, charges, now)
    for window, counted in zip(windows, counts, strict=True):
        window.room = window.limit.quota - counted.used + window.counted
        window.ends_at = counted.ends_at


def _pass_one(windows: list[_Window], now: datetime) -> DeliveryDecision | None:
    """Pass one message if each of its windows has room; otherwise return the refusal."""
    for window in windows:
        if window.passed >= window.room:
            return _refusal(window, now)
    for window in windows:
        window.passed += 1
    # A new recipient counts once, with the first message that passes.
    del windows[2:]
    return None


def _take_back(connection: Connection, windows: list[_Window]) -> None:
    """Subtract what was counted for messages that did not pass."""
    charges = [
        WindowCharge(one.limit.name, one.subject, one.passed - one.counted, one.ends_at)
        for one in windows
        if one.passed < one.counted
    ]
    rate_limits.adjust_windows(connection, charges)


def _refusal(window: _Window, now: datetime) -> DeliveryDecision:
    wait = math.ceil((window.ends_at - now).total_seconds())
    status = window.limit.status(0, wait)
    return DeliveryDecision(MessageRateLimited(_DETAILS[window.limit.name], rate_limit=status))
