"""Push subscriptions: one a device, put and deleted by the device alone, and its address shown to nobody.

An endpoint is checked when it is put, and again whenever it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import Connection, Executable, delete, select

from core.database import Database, dialect_of, insert_into
from core.host_resolver import AddressNotAllowed, HostNotFound, HostResolver
from core.problems import InvalidFields
from messaging.mailbox.models import Mailbox
from messaging.push.models import PushSubscription
from messaging.push.problems import PushSubscriptionNotFound, PushTypeNotOffered
from messaging.push.schemas import PushParameters, PushSubscriptionAnswer, PushSubscriptionBody
from tokens.devices import Caller
from tokens.problems import TokenInvalid


@dataclass(frozen=True)
class PushService:
    """Puts, returns and deletes subscriptions."""

    database: Database
    addresses: HostResolver
    #: Ports that endpoints may have; None, in development: any, and http:// too.
    ports: frozenset[int] | None
    parameters: PushParameters

    def put(self, caller: Caller, body: PushSubscriptionBody) -> None:
        """Replace the subscription of the calling device.

        Raises PushTypeNotOffered, or InvalidFields for an endpoint that is not allowed.
        """
        if body.type not in self.parameters.types:
            offered = ", ".join(self.parameters.types) or "none"
            raise PushTypeNotOffered(f"Offered are: {offered}.")
        if body.endpoint is not None:
            self._check_endpoint(body.endpoint)
        with self.database.write(adds=True) as connection:
            # Locked, so that a device that is removed meanwhile leaves nothing behind.
            mailbox = select(Mailbox.device_id).where(Mailbox.device_id == caller.device_id)
            exists = connection.execute(mailbox.with_for_update()).one_or_none() is not None
            if exists:
                values = {"device_id": caller.device_id, "is_webhook": False, **body.columns()}
                connection.execute(_upsert(dialect_of(connection)), values)
        if not exists:
            raise TokenInvalid("The device was removed.")

    def _check_endpoint(self, endpoint: str) -> None:
        """Raise InvalidFields unless an endpoint is HTTPS and public; in development any URL is allowed."""
        try:
            parts = urlsplit(endpoint)
            host, is_https = parts.hostname, parts.scheme == "https"
            port = parts.port or (443 if is_https else 80)
        except ValueError:
            host = None
        if not host or "@" in parts.netloc:
            raise InvalidFields.at("/endpoint", "is not the address of a push service")
        if self.ports is not None and not is_https:
            raise InvalidFields.at("/endpoint", "must be https://")
        if self.ports is not None and port not in self.ports:
            raise InvalidFields.at("/endpoint", "must not name a port of its own")
        try:
            self.addresses.resolve(host)
        except (HostNotFound, AddressNotAllowed):
            # One sentence, or it would tell which names exist inside.
            raise InvalidFields.at("/endpoint", "must lead to a public address") from None

    def get(self, caller: Caller) -> PushSubscriptionAnswer:
        """Return the subscription of the calling device; raises PushSubscriptionNotFound."""
        with self.database.read() as connection:
            type_ = connection.scalar(select(PushSubscription.type).where(*_own(caller.device_id)))
        if type_ is None:
            raise PushSubscriptionNotFound("Put one, if the device should be woken.")
        return PushSubscriptionAnswer(type=type_)

    def delete(self, caller: Caller) -> None:
        """Delete the subscription of the calling device; doing it again changes nothing."""
        with self.database.write() as connection:
            connection.execute(delete(PushSubscription).where(*_own(caller.device_id)))

    @staticmethod
    def devices_removed(
        connection: Connection, account_id: UUID, device_ids: Sequence[UUID]
    ) -> None:
        """Delete the subscriptions of removed devices."""
        connection.execute(
            delete(PushSubscription).where(PushSubscription.device_id.in_(device_ids))
        )


def _own(device_id: UUID) -> tuple[Any, ...]:
    return PushSubscription.device_id == device_id, PushSubscription.is_webhook.is_(False)


@cache
def _upsert(dialect: str) -> Executable:
    """Return the statement that adds or replaces a subscription, with no wake-up scheduled."""
    statement = insert_into(dialect, PushSubscription)
    key = ("device_id", "is_webhook")
    changed = {column.name: column for column in statement.excluded if column.name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)
