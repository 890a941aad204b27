"""Problems of push subscriptions."""

from core.problems import Problem


class PushTypeNotOffered(Problem):
    """The service does not offer this type of push."""

    code, status, title = "push-type-not-offered", 422, "Push type not offered"


class PushSubscriptionNotFound(Problem):
    """The device has no push subscription, or its provider reported it gone."""

    code, status, title = "push-subscription-not-found", 404, "Push subscription not found"
