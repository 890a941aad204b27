"""Settings of how much an account may write, and to how many who do not know it."""

from pydantic import Field
from pydantic_settings import BaseSettings

MOST = 1_000_000_000


class MessageLimitSettings(BaseSettings):
    """The part of the settings that bounds messages by sender and recipient."""

    messages_per_minute: int = Field(
        1200, ge=1, le=MOST, description="Messages that an account sends to others in a minute."
    )
    messages_to_one_per_minute: int = Field(
        600, ge=1, le=MOST, description="Those of them that go to one account."
    )
    stranger_messages_per_day: int = Field(
        20,
        ge=1,
        le=MOST,
        description="Messages a day to an account that has neither answered nor accepted.",
    )
    new_recipients_per_day: int = Field(
        100, ge=1, le=MOST, description="Such accounts that one account writes to in a day."
    )
