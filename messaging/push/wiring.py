"""Builds push: subscriptions, the providers that the settings name, and the waker."""

from core.host_resolver import EVERYWHERE, HostResolver
from core.runtime import Runtime
from messaging.push.apns import ApnsProvider
from messaging.push.fcm import FcmProvider
from messaging.push.metrics import PushMetrics
from messaging.push.provider import PushProvider
from messaging.push.schemas import PushParameters
from messaging.push.sender import CheckPresence
from messaging.push.service import PushService
from messaging.push.settings import PushName, PushSettings
from messaging.push.vapid import Vapid
from messaging.push.waker import Waker
from messaging.push.web_push import WebPushProvider
from messaging.push.webhook import PushWebhookProvider


class Push:
    """Subscriptions and the waker."""

    def __init__(
        self, runtime: Runtime, settings: PushSettings, check_presence: CheckPresence
    ) -> None:
        database, clock = runtime.database, runtime.clock
        is_development = settings.environment == "development"
        addresses = HostResolver(runtime.resolver, EVERYWHERE if is_development else ())
        ports = None if is_development else frozenset(settings.push_ports)
        vapid = Vapid.from_settings(settings) if "webpush" in settings.push else None

        def provider(name: PushName) -> PushProvider:
            if name == "webpush" and vapid is not None:
                return WebPushProvider(vapid, addresses, clock, ports)
            if name == "apns":
                return ApnsProvider.from_settings(settings, clock)
            if name == "fcm":
                return FcmProvider.from_settings(settings, clock)
            return PushWebhookProvider.from_settings(settings, clock)

        self.service = PushService(
            database,
            addresses,
            ports,
            PushParameters(
                types=[name for name in settings.push if name != "webhook"],
                vapid_public_key=vapid and vapid.public_key,
            ),
        )
        self.waker = Waker(
            database,
            clock,
            PushMetrics(runtime.metrics),
            [provider(name) for name in settings.push],
            check_presence,
        )
