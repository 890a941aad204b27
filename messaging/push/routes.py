"""The routes of push subscriptions."""

from flask import current_app

from core.api import Api
from messaging.push.problems import PushSubscriptionNotFound, PushTypeNotOffered
from messaging.push.schemas import PushParameters, PushSubscriptionAnswer, PushSubscriptionBody
from messaging.push.service import PushService
from tokens.authenticate import Caller, authenticate_device
from tokens.routes import AUTHENTICATION

push_api = Api(
    "push",
    __name__,
    description="Where a device is woken, without content, when an urgent message waits",
    authenticate=authenticate_device,
    problems=AUTHENTICATION,
)


def _push() -> PushService:
    service: PushService = current_app.extensions["kith"].messaging.push.service
    return service


@push_api.operation(
    "PUT", "/push-subscription", answer=None, status=204, problems=(PushTypeNotOffered,)
)
def put_push_subscription(caller: Caller, body: PushSubscriptionBody) -> None:
    """Replace the push subscription of the calling device."""
    _push().put(caller, body)


@push_api.operation(
    "GET",
    "/push-subscription",
    answer=PushSubscriptionAnswer,
    problems=(PushSubscriptionNotFound,),
)
def push_subscription(caller: Caller) -> PushSubscriptionAnswer:
    """Return the push subscription of the calling device, without its address."""
    return _push().get(caller)


@push_api.operation("DELETE", "/push-subscription", answer=None, status=204)
def delete_push_subscription(caller: Caller) -> None:
    """Delete the push subscription of the calling device."""
    _push().delete(caller)


@push_api.operation("GET", "/push-subscription/parameters", answer=PushParameters)
def push_parameters(caller: Caller) -> PushParameters:
    """Return the types that a device may subscribe with."""
    return _push().parameters
