"""Rate limits of keys, messages and groups; all but `key-uploads` count by the account's number."""

from dataclasses import dataclass
from datetime import timedelta

from core.clock import DAY, HOUR, MINUTE
from core.rate_limits import RateLimit
from messaging.settings import MessagingSettings

#: By device: an upload may hold a hundred signatures to verify.
KEY_UPLOADS = RateLimit("key-uploads", 20, HOUR)
#: By fetching number and account, so that nobody drains the one-time keys of an account.
KEY_FETCHES_OF_ACCOUNT = RateLimit("key-fetches-of-account", 10, timedelta(minutes=100))
#: The largest group has 1,024 members.
KEY_FETCHES = RateLimit("key-fetches", 2_000, DAY)
GROUP_CREATIONS = RateLimit("group-creations", 50, DAY)
#: Each change is sent to every member.
GROUP_CHANGES = RateLimit("group-changes", 600, HOUR)
#: Invitations of accounts that are not in touch with the inviter.
GROUP_INVITATIONS = RateLimit("group-invitations", 100, DAY, "fixed-window")


@dataclass(frozen=True)
class MessageLimits:
    """Rate limits on messages, from the settings."""

    #: Over all recipients.
    messages: RateLimit
    #: To one recipient that is in touch with the sender, or one group.
    to_recipient: RateLimit
    #: To one recipient that is not.
    to_new_recipient: RateLimit
    #: Recipients that are not.
    new_recipients: RateLimit

    @classmethod
    def from_settings(cls, settings: MessagingSettings) -> "MessageLimits":
        """Build the limits that the settings name."""
        to_recipient = settings.messages_to_recipient_per_minute
        to_new_recipient = settings.messages_to_new_recipient_per_day
        new_recipients = settings.new_recipients_per_day
        return cls(
            RateLimit("messages", settings.messages_per_minute, MINUTE, "fixed-window"),
            RateLimit("messages-to-recipient", to_recipient, MINUTE, "fixed-window"),
            RateLimit("messages-to-new-recipient", to_new_recipient, DAY, "fixed-window"),
            RateLimit("new-recipients", new_recipients, DAY, "fixed-window"),
        )
