"""What crosses the wire here, as one-time-password-sms 1.1.1 has it."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.api import Answer
from core.typed_fields import Form
from core.typed_text import read_code, visible
from verification.templates import LABEL

MAX_ID_LENGTH = 36
MAX_MESSAGE_LENGTH = 160
_E164 = Form(
    r"^\+[1-9][0-9]{4,14}$",
    "Write the phoneNumber with + and country code, such as +4915112345678.",
)
_WITH_LABEL = Form(r"\{\{code\}\}", f"The message must hold {LABEL}, where the code is to stand.")


def _typed_number(value: object) -> object:
    """Take what nobody sees out of a number, and blanks; it is E.164 then, or refused."""
    return visible(value).replace(" ", "") if isinstance(value, str) else value


def _typed_code(value: object) -> object:
    """Read a code before its length is judged, which is of what its receiver meant."""
    if not isinstance(value, str):
        return value
    return read_code(value) or "".join(visible(value).split()) or value


def _line_ends(value: object) -> object:
    """Write every line end as LF, which is one character of a text; forms post CRLF."""
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value


class CamaraBody(BaseModel):
    """Base of what services send: fields that a later version of the specification adds are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class SendCodeBody(CamaraBody):
    """A number, and the text in which it is sent a code."""

    phone_number: Annotated[str, BeforeValidator(_typed_number), _E164] = Field(
        alias="phoneNumber",
        description="E.164 with +.",
        examples=["+346661113334"],
    )
    message: Annotated[str, BeforeValidator(_line_ends), _WITH_LABEL] = Field(
        max_length=MAX_MESSAGE_LENGTH,
        description=f"The text, which holds {LABEL} where the code is to stand.",
        examples=[f"{LABEL} is your short code to authenticate with Cool App via SMS"],
    )


class SendCodeResponse(Answer):
    """What the code belongs to."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    authentication_id: str = Field(serialization_alias="authenticationId", max_length=MAX_ID_LENGTH)


class ValidateCodeBody(CamaraBody):
    """A code, and what it belongs to."""

    authentication_id: str = Field(alias="authenticationId", min_length=1, max_length=MAX_ID_LENGTH)
    code: Annotated[str, BeforeValidator(_typed_code)] = Field(
        min_length=1, max_length=10, description="As its receiver typed it."
    )


class ErrorInfo(BaseModel):
    """The body of every error."""

    status: int = Field(description="HTTP response status code")
    code: str = Field(description="A human-readable code to describe the error")
    message: str = Field(description="A human-readable description of what the event represents")
