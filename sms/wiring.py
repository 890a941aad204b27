"""The SMS part: providers, routing, sends and delivery reports."""

from collections.abc import Callable
from datetime import timedelta

from core.maintenance import Job
from core.runtime import Part, Runtime
from core.standard_webhooks import WebhookSecrets
from sms import outcomes
from sms.delivery import DeliveryService
from sms.dispatch import Dispatcher
from sms.metrics import SmsMetrics
from sms.outbox import OutboxProvider
from sms.provider import Provider
from sms.routes import outbox_api
from sms.routing import Router
from sms.routing_file import load_routing
from sms.service import SendService
from sms.settings import SmsSettings
from sms.smpp.messages import SmppMessages
from sms.smpp.provider import SmppProvider
from sms.twilio.provider import TwilioProvider
from sms.twilio.routes import twilio_callbacks_api
from sms.webhook.provider import WebhookProvider
from sms.webhook.routes import SenderAuthentication, webhook_callbacks_api


class Sms(Part):
    """Sends texts and calls, and records delivery reports."""

    def __init__(
        self,
        runtime: Runtime,
        settings: SmsSettings,
        providers: tuple[Provider, ...] | None = None,
    ) -> None:
        """Build the providers that the settings name, unless they are given."""
        database, clock = runtime.database, runtime.clock
        self.metrics = metrics = SmsMetrics(runtime.metrics)
        self.deliveries = DeliveryService(database, clock, metrics)
        self.outbox = OutboxProvider(database, clock)
        secrets = WebhookSecrets.of(settings.webhook_secret, settings.webhook_secret_previous)
        smpp_messages = SmppMessages(database, clock, self.deliveries, metrics)
        builders: dict[str, Callable[[], Provider]] = {
            "outbox": lambda: self.outbox,
            "twilio": lambda: TwilioProvider.from_settings(settings),
            "webhook": lambda: WebhookProvider.from_settings(settings, clock),
            "smpp": lambda: SmppProvider.from_settings(settings, smpp_messages, metrics),
        }
        providers = providers or tuple(builders[name]() for name in settings.sms_provider)
        self.providers = {provider.name: provider for provider in providers}
        self.routing = load_routing(settings, list(self.providers))
        router = Router(self.routing, providers, clock, runtime.entropy)
        self.sends = SendService(
            database,
            router,
            Dispatcher(self.providers, router, metrics),
            self.deliveries,
            clock,
            runtime.entropy,
            metrics,
            timedelta(seconds=settings.failover_seconds),
        )
        self.blueprints = (
            twilio_callbacks_api(self.deliveries, settings),
            webhook_callbacks_api(self.deliveries, SenderAuthentication(secrets, clock).sender),
            *((outbox_api(self.outbox),) if settings.mock_sms else ()),
        )
        self.jobs = (
            Job("unsettled sends", self.deliveries.settle),
            Job("sends", self.sends.purge_sends),
            Job("routing outcomes", outcomes.purge_outcomes),
            Job("outbox", self.sends.purge_outbox),
            Job("taken reports", self.deliveries.purge_reports),
            Job("smpp messages", SmppMessages.purge),
        )

    def close(self) -> None:
        """Unbind from SMSCs."""
        for provider in self.providers.values():
            if isinstance(provider, SmppProvider):
                provider.close()
