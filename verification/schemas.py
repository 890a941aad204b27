"""What crosses the wire about verifications and registrations."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, model_validator

from core.api import Answer, Body
from core.base64url import encode
from core.binary_fields import described, reads
from core.typed_fields import AppHash, Locale, Region, TypedNumber, WebOrigin
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

    phone_number: TypedNumber = Field(
        description="As it was typed: with + and country code, or national with `region`."
    )
    region: Region | None = Field(
        None, description="ISO 3166, like DE, in any case; UK is GB. Where the number is from."
    )
    channel: Channel = "sms"
    locale: Locale = None
    app_hash: AppHash | None = Field(
        None, description="The 11 characters by which Android's SMS Retriever names an app."
    )
    web_origin: WebOrigin = None
    supersedes: VerificationId | None = Field(
        None,
        description="Id of an earlier verification that this one replaces: it is canceled if it is still"
        " pending. One that is over or unknown changes nothing.",
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

    code: str = Field(
        max_length=250,
        description="6 or 8 digits of any script, with blanks or dashes between them or without.",
    )


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


class RecoverDevice(Body):
    """A device of the account that returns, and what its identity key signed."""

    device_id: UUID
    signature: Annotated[
        bytes,
        BeforeValidator(reads(64)),
        PlainSerializer(encode, return_type=str),
        described(64),
        Field(description="Ed25519 over `0x03` and the `verification_id` in ASCII."),
    ]


class RegisterDevice(Body):
    """A proof and the device that brings it."""

    verification_id: VerificationId
    device: DeviceDescription = DeviceDescription()
    registration_lock_pin: Pin | None = None
    recover_device: RecoverDevice | None = Field(
        None,
        description="A device of this account that is to keep its id and its mailbox, signed in or not.",
    )


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
