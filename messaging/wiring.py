"""The part that delivers: messages, keys, groups, contacts, push and the stream."""

from core.maintenance import Job
from core.runtime import Part, Runtime
from messaging.contacts import blocked_numbers
from messaging.contacts.routes import contacts_api
from messaging.contacts.sender_rules import SenderRules
from messaging.contacts.service import ContactService
from messaging.groups.change_notices import GroupNotices
from messaging.groups.joined_members import find_joined_members
from messaging.groups.routes import groups_api
from messaging.groups.service import GroupService
from messaging.keys import prekeys
from messaging.keys.routes import keys_api
from messaging.keys.service import KeyService
from messaging.limits import MessageLimits
from messaging.mailbox import client_ids
from messaging.mailbox.message_batch import BatchProcessor
from messaging.mailbox.quota import MailboxQuota
from messaging.mailbox.routes import messages_api
from messaging.mailbox.service import MessageService
from messaging.metrics import MessagingMetrics
from messaging.notifications.account_notifications import AccountNotifications
from messaging.notifications.mailbox_poller import MailboxPoller
from messaging.notifications.registry import ListenerRegistry
from messaging.notifications.valkey_bus import ValkeyBus
from messaging.push.routes import push_api
from messaging.push.wiring import Push
from messaging.settings import MessagingSettings
from messaging.stream.routes import SocketAuthenticator, stream_api
from messaging.stream.service import StreamService
from messaging.stream.signals import SignalService
from tokens.wiring import Tokens

#: Seconds for which wake-ups in flight are awaited when the process ends.
FLUSH_SECONDS = 0.5


class Messaging(Part):
    """Messages, keys, groups and contacts, and who is notified of them."""

    def __init__(self, runtime: Runtime, settings: MessagingSettings, tokens: Tokens) -> None:
        database, clock, entropy = runtime.database, runtime.clock, runtime.entropy
        metrics, events = MessagingMetrics(runtime.metrics), tokens.events
        self.registry = registry = ListenerRegistry(clock)
        self.mailbox_poller = MailboxPoller(database, clock, registry)
        self.bus = None
        if settings.valkey_url is not None:
            self.bus = ValkeyBus(
                settings.valkey_url.get_secret_value(),
                settings.valkey_namespace,
                registry,
                self.mailbox_poller.request,
                metrics,
            )
        batches = BatchProcessor(
            database,
            clock,
            metrics,
            registry,
            entropy,
            SenderRules(MessageLimits.from_settings(settings)).evaluate,
            find_joined_members,
            MailboxQuota(settings.max_mailbox_messages, settings.max_mailbox_bytes),
        )
        self.messages = messages = MessageService(
            database, clock, metrics, settings.max_content_bytes, batches, registry
        )
        self.keys = keys = KeyService(database, clock, metrics, registry.notify)
        self.contacts = ContactService(database, clock)
        self.push = push = Push(runtime, settings, registry.check_presence)
        notices = GroupNotices(database, registry.notify)
        self.groups = GroupService(database, clock, entropy, notices)
        notifications = AccountNotifications(database, clock, registry)
        self.streams = StreamService(
            messages,
            SignalService(database, clock, registry, self.contacts.may_signal),
            clock,
            metrics,
            settings.max_body_bytes,
            settings.ping_interval,
            (keys.pending_notices, messages.pending_notices, notifications.pending_notices),
            push.waker.on_left,
        )
        messages.polled.append(push.waker.on_polled)

        registry.bus = self.bus
        registry.offline_handlers.append(push.waker.wake)
        tokens.devices.mailbox_fills = messages.mailbox_fills
        events.device_added.append(messages.device_added)
        events.device_returned.append(messages.device_returned)
        events.devices_removed += (
            messages.devices_removed,
            keys.devices_removed,
            push.service.devices_removed,
            notifications.devices_removed,
        )
        events.token_replaced.append(notifications.token_replaced)
        events.token_revoked.append(notifications.token_revoked)
        events.account_deleted += (self.groups.account_deleted, blocked_numbers.account_deleted)
        events.number_left += (blocked_numbers.number_left, notifications.number_left)
        events.lock_removal.append(notifications.lock_removal)
        events.numbers_forgotten.append(blocked_numbers.numbers_forgotten)

        authenticate = tokens.authenticator.device
        self.blueprints = (
            messages_api(messages, authenticate),
            keys_api(keys, authenticate),
            contacts_api(self.contacts, authenticate),
            push_api(push.service, authenticate),
            groups_api(self.groups, authenticate),
            stream_api(self.streams, SocketAuthenticator(tokens.authenticator).device),
        )
        self.jobs = (
            Job("envelopes", messages.purge_envelopes),
            Job("sent messages", client_ids.purge_sent),
            Job("consumed prekeys", prekeys.purge_consumed),
        )

    def start(self) -> None:
        """Start push wake-ups, the mailbox poller and the bus."""
        self.push.waker.start()
        self.mailbox_poller.start()
        if self.bus is not None:
            self.bus.start()

    def close(self) -> None:
        """Store which devices are due a wake-up, and leave the bus."""
        self.push.waker.flush(FLUSH_SECONDS)
        if self.bus is not None:
            self.bus.stop()
