"""Routes of push subscriptions."""

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
    service: PushService = current_app.extensions["kith"].messaging.push
    return service


@push_api.operation(
    "PUT", "/push-subscription", answer=None, status=204, problems=(PushTypeNotOffered,)
)
def put_push_subscription(caller: Caller, body: PushSubscriptionBody) -> None:
    """Say where the calling device is woken, in the place of what it said before."""
    _push().put(caller, body)


@push_api.operation(
    "GET",
    "/push-subscription",
    answer=PushSubscriptionAnswer,
    problems=(PushSubscriptionNotFound,),
)
def push_subscription(caller: Caller) -> PushSubscriptionAnswer:
    """Tell how the calling device is woken."""
    return _push().get(caller)


@push_api.operation("DELETE", "/push-subscription", answer=None, status=204)
def delete_push_subscription(caller: Caller) -> None:
    """Wake the calling device no more."""
    _push().delete(caller)


@push_api.operation("GET", "/push-subscription/parameters", answer=PushParameters)
def push_parameters(caller: Caller) -> PushParameters:
    """Tell how a device may subscribe."""
    return _push().parameters()
