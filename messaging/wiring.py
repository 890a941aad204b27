"""The parts of messaging, built once and connected with each other and with accounts.

Owns which part hears of what another one did. Refuses to begin anything: that is `start`, in the process
that serves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from core.database import Database
from core.limits import Limits
from core.metrics import Metrics
from core.name_lookups import Resolve
from messaging.contacts import numbers as blocked_numbers
from messaging.contacts.judging import Judge
from messaging.contacts.service import ContactService
from messaging.groups.changes import GroupChanges
from messaging.groups.notices import GroupNotices
from messaging.groups.rosters import rosters
from messaging.groups.service import GroupService
from messaging.keys.service import KeyService
from messaging.mailbox.service import MessageService
from messaging.notifications.listeners import ListenerRegistry
from messaging.notifications.lock_notices import LockNotices
from messaging.notifications.mailbox_poller import MailboxPoller
from messaging.notifications.revocation import Revocation
from messaging.notifications.valkey_bus import ValkeyBus
from messaging.push.service import PushService
from messaging.settings import MessagingSettings
from messaging.stream.service import SocketService
from messaging.stream.signals import SignalService
from tokens.events import AccountEvents

#: Seconds that wake-ups under way have when the process ends.
LAST_SECONDS = 0.5


@dataclass(frozen=True)
class Messaging:
    """The services of messaging, in `app.extensions["kith"].messaging`."""

    wakeups: ListenerRegistry
    net: MailboxPoller
    bus: ValkeyBus | None
    messages: MessageService
    keys: KeyService
    contacts: ContactService
    push: PushService
    groups: GroupService
    group_changes: GroupChanges
    sockets: SocketService

    @classmethod
    def build(
        cls,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
        settings: MessagingSettings,
        rules: Limits,
        resolver: Resolve,
        events: AccountEvents,
    ) -> Self:
        """Build every part once and connect it."""
        wakeups = ListenerRegistry(clock)
        net = MailboxPoller(database, clock, wakeups)
        bus = None
        if settings.valkey_url is not None:
            address = settings.valkey_url.get_secret_value()
            bus = ValkeyBus(address, settings.valkey_namespace, wakeups, net.look_soon, metrics)
        messages = MessageService(
            database, clock, entropy, metrics, settings, Judge(rules).judge, rosters, wakeups
        )
        keys = KeyService(database, clock, metrics, rules, wakeups.notice)
        contacts = ContactService(database, clock)
        push = PushService(database, clock, metrics, settings, resolver, wakeups.ask)
        notices = GroupNotices(database, wakeups.notice)
        groups = GroupService(database, clock, entropy, rules, notices)
        group_changes = GroupChanges(database, clock, rules, notices)
        lock_notices = LockNotices(database, clock, wakeups.notice)
        signals = SignalService(database, clock, wakeups, contacts.may_signal)
        sockets = SocketService(
            messages,
            signals,
            clock,
            metrics,
            settings,
            lambda caller: [
                *keys.greet(caller),
                *messages.greet(caller),
                *lock_notices.greet(caller),
            ],
            push.waker.leave,
        )
        messages.polled.append(push.waker.polled)
        revocation = Revocation(database, wakeups)

        wakeups.bus = bus
        wakeups.unheard.append(push.waker.wake)
        events.device_added.append(messages.device_added)
        events.device_returned.append(messages.device_returned)
        events.devices_removed += (
            messages.devices_removed,
            keys.devices_removed,
            push.devices_removed,
            revocation.devices_removed,
        )
        events.token_replaced.append(revocation.token_replaced)
        events.token_revoked.append(revocation.token_revoked)
        events.account_deleted += (groups.account_deleted, blocked_numbers.account_deleted)
        events.number_left += (blocked_numbers.number_left, revocation.number_left)
        events.lock_removal.append(lock_notices.lock_removal)
        events.numbers_forgotten.append(blocked_numbers.numbers_forgotten)
        return cls(
            wakeups, net, bus, messages, keys, contacts, push, groups, group_changes, sockets
        )

    def start(self) -> None:
        """Begin what runs beside requests."""
        self.push.waker.start()
        self.net.start()
        if self.bus is not None:
            self.bus.start()

    def close(self) -> None:
        """Write down who is to be woken, and leave providers and the other workers."""
        self.push.waker.flush(LAST_SECONDS)
        if self.bus is not None:
            self.bus.stop()
