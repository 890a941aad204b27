"""Settings of messages and mailboxes: sizes, and how much an account may send to whom."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from messaging.push.settings import PushSettings

MAX_RATE = 1_000_000_000


class MessagingSettings(PushSettings):
    """The settings section of messages and mailboxes."""

    RETIRED: ClassVar[Mapping[str, str]] = {
        "KITH_MESSAGES_TO_ONE_PER_MINUTE": "is called KITH_MESSAGES_TO_RECIPIENT_PER_MINUTE now",
        "KITH_STRANGER_MESSAGES_PER_DAY": "is called KITH_MESSAGES_TO_NEW_RECIPIENT_PER_DAY now",
        "KITH_STRANGERS_PER_DAY": "is called KITH_NEW_RECIPIENTS_PER_DAY now",
    }

    max_content_bytes: int = Field(
        65_536, ge=1024, le=262_144, description="Maximum size of the ciphertext of one envelope."
    )
    max_mailbox_messages: int = Field(
        100_000, ge=100, description="Maximum envelopes waiting for one device."
    )
    max_mailbox_bytes: int = Field(
        268_435_456,
        ge=1_048_576,
        le=2**40,
        description="Maximum bytes of content waiting for one device, including shared content of"
        " groups.",
    )
    messages_per_minute: int = Field(
        1200,
        ge=1,
        le=MAX_RATE,
        description="Messages per minute from one account to other accounts and to groups.",
    )
    messages_to_recipient_per_minute: int = Field(
        600,
        ge=1,
        le=MAX_RATE,
        description="Messages per minute from one account to one account or group.",
    )
    messages_to_new_recipient_per_day: int = Field(
        20,
        ge=1,
        le=MAX_RATE,
        description="Messages per day to one new recipient: an account that has neither answered"
        " nor accepted.",
    )
    new_recipients_per_day: int = Field(
        100, ge=1, le=MAX_RATE, description="New recipients per day that one account can write to."
    )
