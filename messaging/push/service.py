"""Push subscriptions: one a device, put and deleted by the device alone.

Owns which types are offered, and what is refused of an endpoint when it is put; where it leads is judged
again whenever it is used. Refuses to tell an address to anybody.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import Connection, Executable, delete, select

from core.addresses import EVERYWHERE, Addresses, AddressRefused, NoAddress
from core.database import Database, dialect_of, insert_into
from core.metrics import Metrics
from core.name_lookups import Resolve
from core.problems import InvalidFields
from messaging.mailbox.models import Mailbox
from messaging.push.apns import ApnsProvider
from messaging.push.fcm import FcmProvider
from messaging.push.models import PushSubscription
from messaging.push.problems import PushSubscriptionNotFound, PushTypeNotOffered
from messaging.push.provider import PushProvider
from messaging.push.schemas import PushParameters, PushSubscriptionAnswer, PushSubscriptionBody
from messaging.push.settings import PushName, PushSettings
from messaging.push.vapid import Vapid
from messaging.push.waker import Ask, Waker
from messaging.push.web_push import WebPushProvider
from messaging.push.webhook import PushWebhookProvider
from tokens.devices import Caller
from tokens.problems import TokenInvalid


class PushService:
    """Keeps subscriptions, and has the waker that uses them."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        metrics: Metrics,
        settings: PushSettings,
        resolver: Resolve,
        ask: Ask,
    ) -> None:
        self._database = database
        self._inside = settings.environment == "development"
        self._addresses = Addresses(resolver, EVERYWHERE if self._inside else ())
        self._ports = None if self._inside else frozenset(settings.push_ports)
        self._vapid = Vapid.from_settings(settings) if "webpush" in settings.push else None
        self._types: list[Any] = [name for name in settings.push if name != "webhook"]
        self.waker = Waker(database, clock, metrics, self._providers(settings, clock), ask)

    def _providers(
        self, settings: PushSettings, clock: Callable[[], datetime]
    ) -> tuple[PushProvider, ...]:
        """Build those that the settings name."""
        builders: dict[PushName, Callable[[], PushProvider]] = {
            "webhook": lambda: PushWebhookProvider.from_settings(settings, clock),
            "apns": lambda: ApnsProvider.from_settings(settings, clock),
            "fcm": lambda: FcmProvider.from_settings(settings, clock),
        }
        if self._vapid is not None:
            vapid = self._vapid
            builders["webpush"] = lambda: WebPushProvider(
                vapid, self._addresses, clock, self._ports
            )
        return tuple(builders[name]() for name in settings.push)

    def parameters(self) -> PushParameters:
        """Say how a device may subscribe."""
        key = self._vapid.public_key if self._vapid else None
        return PushParameters(types=self._types, vapid_public_key=key)

    def put(self, caller: Caller, body: PushSubscriptionBody) -> None:
        """Wake the calling device there from now on, and nowhere else.

        Raises PushTypeNotOffered, or InvalidFields for an endpoint that is never gone to.
        """
        if body.type not in self._types:
            offered = ", ".join(self._types) or "none"
            raise PushTypeNotOffered(f"Offered are: {offered}.")
        if body.endpoint is not None:
            self._judge(body.endpoint)
        with self._database.write(adds=True) as connection:
            # Locked, so that a device that is removed meanwhile leaves nothing behind.
            held = select(Mailbox.device_id).where(Mailbox.device_id == caller.device_id)
            there = connection.execute(held.with_for_update()).one_or_none()
            if there is not None:
                values = {"device_id": caller.device_id, "is_webhook": False, **body.columns()}
                connection.execute(_putting(dialect_of(connection)), values | _IDLE)
        if there is None:
            raise TokenInvalid("The device was removed.")

    def _judge(self, endpoint: str) -> None:
        """Refuse an endpoint that is not HTTPS, or leads inside; in development only what is no address."""
        try:
            parts = urlsplit(endpoint)
            host, in_clear, has_more = parts.hostname, parts.scheme != "https", "@" in parts.netloc
            port = parts.port or (80 if in_clear else 443)
        except ValueError:
            host, in_clear, has_more, port = None, False, False, 0
        if not host or has_more:
            raise InvalidFields.at("/endpoint", "is not the address of a push service")
        if in_clear and not self._inside:
            raise InvalidFields.at("/endpoint", "must be https://")
        if self._ports is not None and port not in self._ports:
            raise InvalidFields.at("/endpoint", "must not name a port of its own")
        try:
            self._addresses.of(host)
        except (NoAddress, AddressRefused):
            # One sentence, or it would tell which names there are inside.
            raise InvalidFields.at("/endpoint", "must lead to a public address") from None

    def get(self, caller: Caller) -> PushSubscriptionAnswer:
        """Say how the calling device is woken; raises PushSubscriptionNotFound."""
        with self._database.read() as connection:
            type_ = connection.scalar(select(PushSubscription.type).where(*_own(caller.device_id)))
        if type_ is None:
            raise PushSubscriptionNotFound("Put one, if the device should be woken.")
        return PushSubscriptionAnswer(type=type_)

    def delete(self, caller: Caller) -> None:
        """Wake the calling device no more; doing it again changes nothing."""
        with self._database.write() as connection:
            connection.execute(delete(PushSubscription).where(*_own(caller.device_id)))

    @staticmethod
    def devices_removed(
        connection: Connection, account_id: UUID, device_ids: Sequence[UUID]
    ) -> None:
        """Forget where devices that are gone were woken."""
        connection.execute(
            delete(PushSubscription).where(PushSubscription.device_id.in_(device_ids))
        )


_IDLE = {"due_at": None, "claimed": False, "woken": 0, "failures": 0, "acked_seq": 0}


def _own(device_id: UUID) -> tuple[Any, ...]:
    return PushSubscription.device_id == device_id, PushSubscription.is_webhook.is_(False)


@cache
def _putting(dialect: str) -> Executable:
    statement = insert_into(dialect, PushSubscription)
    key = ("device_id", "is_webhook")
    changed = {column.name: column for column in statement.excluded if column.name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)
