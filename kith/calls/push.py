"""Own the calls about where this device is woken when it does not listen; they need the device
token.

Refuse to subscribe anywhere: the browser or the phone's system does, and says under which address.
"""

from kith.calls.base import Calls, answer
from kith.models import PushParameters, PushSubscription, base64url
from kith.problems import PushSubscriptionNotFound


class PushCalls(Calls):
    """Put, read and delete the push subscription of this device."""

    def push_parameters(self) -> PushParameters:
        """Return the types of subscription that the server takes, and the key for browsers."""
        return answer(
            PushParameters, self._requests.call("GET", "/v1/push-subscription/parameters")
        )

    def push_subscription(self) -> PushSubscription | None:
        """Return how this device is woken, None when it is not."""
        try:
            response = self._requests.call("GET", "/v1/push-subscription")
        except PushSubscriptionNotFound:
            return None
        return answer(PushSubscription, response)

    def subscribe_web_push(self, endpoint: str, *, p256dh: bytes, auth: bytes) -> None:
        """Have this device woken through Web Push, in the place of what it put before.

        p256dh: a point of P-256, uncompressed, 65 bytes. auth: 16 bytes. Raise InvalidFields for an
        endpoint that the server does not go to.
        """
        keys = {"p256dh": base64url(p256dh), "auth": base64url(auth)}
        self._put({"type": "webpush", "endpoint": endpoint, **keys})

    def subscribe_apns(self, token: str) -> None:
        """Have this device woken through APNs; token: the device token, hexadecimal."""
        self._put({"type": "apns", "token": token})

    def subscribe_fcm(self, token: str) -> None:
        """Have this device woken through FCM; token: the registration token."""
        self._put({"type": "fcm", "token": token})

    def _put(self, subscription: dict[str, str]) -> None:
        self._requests.call("PUT", "/v1/push-subscription", subscription)

    def delete_push_subscription(self) -> None:
        """Have this device woken no more."""
        self._requests.call("DELETE", "/v1/push-subscription")
