"""What can go wrong with push subscriptions."""

from core.problems import Problem


class PushTypeNotOffered(Problem):
    """The service does not wake devices in this way."""

    code, status, title = "push-type-not-offered", 422, "Devices are not woken in this way here"


class PushSubscriptionNotFound(Problem):
    """The device has no push subscription, or its provider said that it is gone."""

    code, status, title = "push-subscription-not-found", 404, "There is no push subscription"
