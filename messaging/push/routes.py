"""The routes of push subscriptions."""

from collections.abc import Callable

from core.api import Api
from messaging.push.problems import PushSubscriptionNotFound, PushTypeNotOffered
from messaging.push.schemas import PushParameters, PushSubscriptionAnswer, PushSubscriptionBody
from messaging.push.service import PushService
from tokens.devices import Caller
from tokens.routes import AUTHENTICATION


def push_api(push: PushService, authenticate: Callable[[], Caller]) -> Api:
    """Return the routes under `/push-subscription`."""
    api = Api(
        "push",
        __name__,
        description="Where a device is woken, without content, when an urgent message waits",
        authenticate=authenticate,
        problems=AUTHENTICATION,
    )

    @api.operation(
        "PUT", "/push-subscription", answer=None, status=204, problems=(PushTypeNotOffered,)
    )
    def put_push_subscription(caller: Caller, body: PushSubscriptionBody) -> None:
        """Replace the push subscription of the calling device."""
        push.put(caller, body)

    @api.operation(
        "GET",
        "/push-subscription",
        answer=PushSubscriptionAnswer,
        problems=(PushSubscriptionNotFound,),
    )
    def push_subscription(caller: Caller) -> PushSubscriptionAnswer:
        """Return the push subscription of the calling device, without its address."""
        return push.get(caller)

    @api.operation("DELETE", "/push-subscription", answer=None, status=204)
    def delete_push_subscription(caller: Caller) -> None:
        """Delete the push subscription of the calling device."""
        push.delete(caller)

    @api.operation("GET", "/push-subscription/parameters", answer=PushParameters)
    def push_parameters(caller: Caller) -> PushParameters:
        """Return the types that a device may subscribe with."""
        return push.parameters

    return api
