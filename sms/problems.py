"""Problems of sending texts and calls, and of delivery reports."""

from core.problems import Problem


class SendRejected(Problem):
    """The provider says that this number cannot receive the message; nothing was sent."""

    code, status, title = "send-rejected", 422, "This number cannot be reached"


class SendBlocked(Problem):
    """No provider sends to this destination; nothing was sent."""

    code, status, title = "send-blocked", 403, "This destination is blocked"


class SendUnavailable(Problem):
    """Every provider is unavailable, or none carries the channel; trying again is safe."""

    code, status, title = "send-unavailable", 503, "No message can be sent right now"


class CallbackSignatureInvalid(Problem):
    """The callback is not signed by the provider."""

    code, status, title = (
        "callback-signature-invalid",
        403,
        "The callback's signature is not valid",
    )


class CallbackExpired(Problem):
    """The callback's timestamp is too old, or in the future."""

    code, status, title = "callback-expired", 403, "The callback has expired"


class CallbackDuplicate(Problem):
    """The same callback was processed before."""

    code, status, title = "callback-duplicate", 403, "The callback was already processed"
