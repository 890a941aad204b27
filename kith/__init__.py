"""The Kith client library: a typed client over HTTP, its answers and its exceptions.

`kith.contacts` reads address books, `kith.sync` matches them, `kith.messaging` encrypts messages (with
the extra `kith[messages]`), `kith.cli` is the command. Nothing of the server is imported.
"""

from kith import problems
from kith.api.discovery import hash_number
from kith.api.keys import FetchedKeys, KeyBundle, KeyCounts, Prekey, SignedPrekey, keys_digest
from kith.api.verification import DeviceRecovery, solve_challenge
from kith.client import Kith
from kith.errors import (
    ChallengeRefused,
    FieldError,
    KithAnswerUnreadable,
    KithAuthoritiesUnreadable,
    KithCertificateRefused,
    KithError,
    KithProblem,
    KithUnreachable,
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
from kith.transport import NO_RETRIES, RetryPolicy

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
    "FetchedKeys",
    "FieldError",
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
    "Verification",
    "hash_number",
    "keys_digest",
    "problems",
    "solve_challenge",
]
