"""Own the public names of the Kith client library: a typed client over HTTP, its answers and its
exceptions.

Import nothing of the server. The command lives in `kith.cli`, contact files in `kith.contacts`.
"""

from kith import problems
from kith.challenges import solve_challenge
from kith.client import Kith
from kith.errors import (
    ChallengeRefused,
    FieldFault,
    KithAnswerUnreadable,
    KithAuthoritiesUnreadable,
    KithCertificateRefused,
    KithError,
    KithProblem,
    KithUnreachable,
)
from kith.hashing import hash_number
from kith.key_models import (
    DeviceRecovery,
    KeyBundle,
    KeyCounts,
    Prekey,
    SignedPrekey,
    TakenKeys,
    keys_digest,
)
from kith.models import (
    AcceptedMessage,
    Account,
    Budget,
    ContactPage,
    Device,
    DeviceLink,
    DiscoveryParameters,
    Envelope,
    Group,
    GroupDevice,
    GroupDevices,
    GroupMember,
    GroupPage,
    GroupSummary,
    LinkedDevice,
    Lookup,
    Message,
    MessagePage,
    OutboxText,
    PeerContact,
    PushParameters,
    PushSubscription,
    Registration,
    Verification,
)
from kith.requests import NO_RETRIES, RetryPolicy

__all__ = [
    "NO_RETRIES",
    "AcceptedMessage",
    "Account",
    "Budget",
    "ChallengeRefused",
    "ContactPage",
    "Device",
    "DeviceLink",
    "DeviceRecovery",
    "DiscoveryParameters",
    "Envelope",
    "FieldFault",
    "Group",
    "GroupDevice",
    "GroupDevices",
    "GroupMember",
    "GroupPage",
    "GroupSummary",
    "KeyBundle",
    "KeyCounts",
    "Kith",
    "KithAnswerUnreadable",
    "KithAuthoritiesUnreadable",
    "KithCertificateRefused",
    "KithError",
    "KithProblem",
    "KithUnreachable",
    "LinkedDevice",
    "Lookup",
    "Message",
    "MessagePage",
    "OutboxText",
    "PeerContact",
    "Prekey",
    "PushParameters",
    "PushSubscription",
    "Registration",
    "RetryPolicy",
    "SignedPrekey",
    "TakenKeys",
    "Verification",
    "hash_number",
    "keys_digest",
    "problems",
    "solve_challenge",
]
