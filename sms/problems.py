"""What can go wrong when a text or a call is handed to a provider."""

from core.problems import Problem


class SendRejected(Problem):
    """A provider says that this number cannot receive it; nothing was sent."""

    code, status, title = "send-rejected", 422, "This number cannot be reached"


class SendBlocked(Problem):
    """No provider sends to this destination; nothing was sent."""

    code, status, title = "send-blocked", 403, "This destination is blocked"


class SendUnavailable(Problem):
    """Every provider is away or too busy, or none carries the channel; trying again is safe."""

    code, status, title = "send-unavailable", 503, "No message can be sent right now"


class CallbackSignatureInvalid(Problem):
    """The callback's signature is not the provider's."""

    code, status, title = (
        "callback-signature-invalid",
        403,
        "The signature of this callback is not valid",
    )


class CallbackExpired(Problem):
    """The callback is signed, but its timestamp is too far from the present."""

    code, status, title = "callback-expired", 403, "This callback was not signed just now"


class CallbackDuplicate(Problem):
    """The very same callback was taken before."""

    code, status, title = "callback-duplicate", 403, "This callback was taken before"
