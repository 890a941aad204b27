"""Requests and answers about verifications and registrations."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, model_validator

from core.base64url import encode
from core.binary_fields import described, reads
from core.parsing import Answer, Body
from core.typed_fields import AppHash, Locale, Region, TypedNumber, WebOrigin
from tokens.schemas import DeviceDescription, Pin

Channel = Literal["sms", "voice"]
Status = Literal["pending", "verified", "expired", "failed", "canceled"]
ChallengeSolution = Annotated[
    str | None,
    Field(
        max_length=2_000,
        pattern=r"^[A-Za-z0-9+/]+=*$",
        description="Solution of the `challenge` of a challenge-required problem (ALTCHA).",
    ),
]
VerificationId = Annotated[str, Field(max_length=64)]


class StartVerification(Body):
    """A number to verify, and how to send the code."""

    phone_number: TypedNumber = Field(
        description="As typed: with + and country code, or national with `region`."
    )
    region: Region | None = Field(
        None, description="Country of the number: ISO 3166, like DE, in any case; UK is GB."
    )
    channel: Channel = "sms"
    locale: Locale = None
    app_hash: AppHash | None = Field(
        None,
        description="Hash of the Android app that reads the code (SMS Retriever): 11 characters.",
    )
    web_origin: WebOrigin = None
    supersedes: VerificationId | None = Field(
        None,
        description="Id of an earlier verification that this one replaces. It is canceled if it is still"
        " pending; a closed or unknown one changes nothing.",
    )
    challenge_solution: ChallengeSolution = None

    @model_validator(mode="after")
    def _one_code_binding(self) -> "StartVerification":
        if self.app_hash and self.web_origin:
            raise ValueError(
                "send app_hash or web_origin, not both: each must be the last line of the text"
            )
        return self


class SendAgain(Body):
    """How to send the code again."""

    channel: Channel = "sms"
    challenge_solution: ChallengeSolution = None


class CheckCode(Body):
    """The code as typed."""

    code: str = Field(
        max_length=250,
        description="6 or 8 digits of any script; spaces and dashes are ignored.",
    )


class VerificationPath(BaseModel):
    """A verification."""

    verification_id: str = Field(max_length=64)


class VerificationAnswer(Answer):
    """A verification. Waits are in seconds; null if the channel has no sends left.

    A `verified` one is the proof of its number until `expires_at`, until it is used, or until a newer proof
    of the number voids it, whichever protocol that came through; then it is `canceled`.
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
    """A device of the account to recover, and its signature."""

    device_id: UUID
    signature: Annotated[
        bytes,
        BeforeValidator(reads(64)),
        PlainSerializer(encode, return_type=str),
        described(64),
        Field(
            description="Ed25519 by its identity key, over `0x03` and the `verification_id` in ASCII."
        ),
    ]


class RegisterDevice(Body):
    """A proof, and the device to register."""

    verification_id: VerificationId
    device: DeviceDescription = DeviceDescription()
    registration_lock_pin: Pin | None = None
    recover_device: RecoverDevice | None = Field(
        None,
        description="A device of this account that keeps its id and its mailbox, signed in or not.",
    )


class RegisteredAnswer(Answer):
    """A registered device and its token."""

    account_id: UUID
    phone_number: str
    device_id: UUID
    device_token: str
    reregistered: bool


class ChangePhoneNumber(Body):
    """A proof of the account's new number."""

    verification_id: VerificationId
    registration_lock_pin: Pin | None = None
