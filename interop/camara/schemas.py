"""Requests and answers of one-time-password-sms 1.1.1."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.parsing import Answer
from core.typed_fields import PatternConstraint
from core.typed_text import read_code, visible
from interop.schemas import AdapterBody
from verification.texts import LABEL

MAX_ID_LENGTH = 36
MAX_MESSAGE_LENGTH = 160
_E164 = PatternConstraint(
    r"^\+[1-9][0-9]{4,14}$",
    "Write the phoneNumber with + and country code, such as +4915112345678.",
)
_WITH_LABEL = PatternConstraint(
    r"\{\{code\}\}", f"The message must contain {LABEL} where the code goes."
)


def _typed_number(value: object) -> object:
    """Remove invisible characters and spaces; the rest must be E.164."""
    return visible(value).replace(" ", "") if isinstance(value, str) else value


def _typed_code(value: object) -> object:
    """Normalize a typed code before its length is checked."""
    if not isinstance(value, str):
        return value
    return read_code(value) or "".join(visible(value).split()) or value


def _line_ends(value: object) -> object:
    """Write line ends as LF, which is one character of a text; forms send CRLF."""
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value


class SendCodeBody(AdapterBody):
    """A number, and the text that carries the code."""

    phone_number: Annotated[str, BeforeValidator(_typed_number), _E164] = Field(
        alias="phoneNumber",
        description="E.164 with +.",
        examples=["+346661113334"],
    )
    message: Annotated[str, BeforeValidator(_line_ends), _WITH_LABEL] = Field(
        max_length=MAX_MESSAGE_LENGTH,
        description=f"The text, with {LABEL} where the code goes.",
        examples=[f"{LABEL} is your short code to authenticate with Cool App via SMS"],
    )


class SendCodeResponse(Answer):
    """The id of a code that was sent."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    authentication_id: str = Field(serialization_alias="authenticationId", max_length=MAX_ID_LENGTH)


class ValidateCodeBody(AdapterBody):
    """A code and its id."""

    authentication_id: str = Field(alias="authenticationId", min_length=1, max_length=MAX_ID_LENGTH)
    code: Annotated[str, BeforeValidator(_typed_code)] = Field(
        min_length=1, max_length=10, description="As typed."
    )


class ErrorInfo(BaseModel):
    """The body of every error."""

    status: int = Field(description="HTTP response status code")
    code: str = Field(description="A human-readable code to describe the error")
    message: str = Field(description="A human-readable description of what the event represents")
