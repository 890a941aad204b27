"""What crosses the wire about verifications and registrations."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from core.api import Answer, Body, printable
from core.phone_numbers import LONGEST_INPUT
from tokens.schemas import DeviceDescription, Pin

Channel = Literal["sms", "voice"]
Status = Literal["pending", "verified", "expired", "failed", "canceled"]
ChallengeSolution = Annotated[
    str | None,
    Field(
        max_length=2_000,
        pattern=r"^[A-Za-z0-9+/]+=*$",
        description="What a client of ALTCHA makes of the `challenge` in a challenge-required problem.",
    ),
]
VerificationId = Annotated[str, Field(max_length=64)]


class StartVerification(Body):
    """A number to prove and how its owner likes to be told the code."""

    phone_number: Annotated[
        str,
        StringConstraints(min_length=1, max_length=LONGEST_INPUT),
        AfterValidator(printable),
        Field(description="With + and country code, or national with `region`."),
    ]
    region: str | None = Field(None, pattern=r"^[A-Z]{2}$", description="ISO 3166, like DE.")
    channel: Channel = "sms"
    locale: str | None = Field(
        None,
        max_length=35,
        pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$",
        description="BCP 47 language of the text, like pt-BR.",
    )
    app_hash: str | None = Field(
        None, pattern=r"^[A-Za-z0-9+/]{11}$", description="Android SMS Retriever hash."
    )
    web_origin: str | None = Field(
        None,
        max_length=108,
        pattern=r"^(https://)?[a-z0-9]([a-z0-9.-]{0,98}[a-z0-9])?$",
        description="Origin that the code is bound to: https://example.com, or just its host.",
    )

    challenge_solution: ChallengeSolution = None

    @model_validator(mode="after")
    def _one_last_line(self) -> "StartVerification":
        if self.app_hash and self.web_origin:
            raise ValueError("send app_hash or web_origin, not both: each must be the last line")
        return self


class SendAgain(Body):
    """How to send the code again."""

    channel: Channel = "sms"
    challenge_solution: ChallengeSolution = None


class CheckCode(Body):
    """The code as its owner typed it."""

    code: str = Field(pattern=r"^[0-9]{6}([0-9]{2})?$", description="6 or 8 digits.")


class VerificationPath(BaseModel):
    """A verification."""

    verification_id: str = Field(max_length=64)


class VerificationAnswer(Answer):
    """A verification. Waits are in seconds; null when nothing more is sent on that channel.

    A `verified` one is the proof of its number until `expires_at`, until it is used, or until a newer proof
    of the number voids it, through whatever door; then it is `canceled`.
    """

    id: str
    phone_number: str
    status: Status
    channel: Channel
    code_length: int
    expires_at: datetime
    checks_left: int
    next_sms_in: int | None
    next_voice_in: int | None


class RegisterDevice(Body):
    """A proof and the device that brings it."""

    verification_id: VerificationId
    device: DeviceDescription = DeviceDescription()
    registration_lock_pin: Pin | None = None


class RegisteredAnswer(Answer):
    """A registered device, and the token that only it holds."""

    account_id: UUID
    phone_number: str
    device_id: UUID
    device_token: str
    reregistered: bool


class ChangePhoneNumber(Body):
    """A proof of the account's new number."""

    verification_id: VerificationId
    registration_lock_pin: Pin | None = None
