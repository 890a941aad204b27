"""Requests and answers of the Identity Service API v2."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from core.parsing import Answer
from core.typed_fields import PatternConstraint, Region, TypedNumber
from discovery.schemas import MAX_HASHES
from interop.matrix.identifiers import MAX_LENGTH, is_user_id
from interop.schemas import AdapterBody

MAX_INTEGER = 2**53 - 1
#: A number as Matrix writes it: international digits.
MSISDN = "[0-9]{1,15}"


class MatrixQuery(BaseModel):
    """Base of query parameters; the access token may be among them."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _whole_number(value: object) -> object:
    """Accept a number as a string, as some clients and homeservers send it."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        return int(value)
    return value


def _user_id(value: str) -> str:
    if not is_user_id(value):
        raise ValueError("is not a user id like @alice:example.org")
    return value


SendAttempt = Annotated[
    int,
    BeforeValidator(_whole_number),
    Field(ge=0, le=MAX_INTEGER),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER},
                {"type": "string", "pattern": "^[0-9]{1,15}$"},
            ]
        }
    ),
]
#: A sid or a client secret.
Opaque = Annotated[
    str,
    PatternConstraint(
        r"^[0-9a-zA-Z.=_-]{1,255}$",
        "A sid or client_secret has 1 to 255 characters: letters, digits and any of . = _ -.",
    ),
]
_LINK = PatternConstraint(
    r"^https?://[!-~]+$", "A next_link begins with https:// or http:// and contains no spaces."
)
_DIGITS = PatternConstraint(
    f"^{MSISDN}$",
    "Write the address as digits with country code and without +, such as 4915112345678.",
)
UserId = Annotated[
    str,
    StringConstraints(max_length=MAX_LENGTH),
    AfterValidator(_user_id),
    Field(examples=["@alice:example.org"]),
]
Token = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class VersionsAnswer(Answer):
    """The supported versions of the specification."""

    versions: list[str]


class NothingAnswer(Answer):
    """An empty object."""


class RegisterBody(AdapterBody):
    """An OpenID token, as `/openid/request_token` of a homeserver answers it."""

    access_token: Annotated[
        str,
        PatternConstraint(
            r"^[!-~]{1,4096}$", "An access_token has 1 to 4096 visible ASCII characters."
        ),
    ]
    matrix_server_name: str = Field(min_length=1, max_length=MAX_LENGTH)


class TokenAnswer(Answer):
    """An access token of this service, under two names; older clients read the second."""

    token: str
    access_token: str


class MatrixAccountAnswer(Answer):
    """The user of an access token."""

    user_id: str


class TermsAnswer(Answer):
    """The policies by name: each has a version, and a name and a URL by language."""

    policies: dict[str, dict[str, Any]]


class AcceptBody(AdapterBody):
    """The URLs of the accepted policies."""

    user_accepts: list[Annotated[str, StringConstraints(max_length=2_000)]] = Field(max_length=100)


class RequestToken(AdapterBody):
    """A number to validate."""

    client_secret: Opaque
    country: Region = Field(description="Country that the number is dialled from.")
    phone_number: TypedNumber
    send_attempt: SendAttempt
    next_link: Annotated[str, StringConstraints(max_length=2_000), _LINK] | None = None


class SessionAnswer(Answer):
    """A validation session, and its number as Matrix writes it."""

    sid: str
    success: bool = True
    msisdn: str


class SubmitBody(AdapterBody):
    """A session's token."""

    sid: Opaque
    client_secret: Opaque
    token: Token


class SubmitQuery(MatrixQuery):
    """A session's token in a link."""

    sid: Opaque
    client_secret: Opaque
    token: Token


class SuccessAnswer(Answer):
    """A validated number."""

    success: bool = True


class SessionQuery(MatrixQuery):
    """A validation session."""

    sid: Opaque
    client_secret: Opaque


class ValidatedAnswer(Answer):
    """A validated number, and when it was validated, in milliseconds since 1970."""

    medium: str
    address: str
    validated_at: int


class BindBody(AdapterBody):
    """A validated session, and the user to bind its number to."""

    sid: Opaque
    client_secret: Opaque
    mxid: UserId


class AssociationAnswer(Answer):
    """A signed association; times are milliseconds since 1970."""

    address: str
    medium: str
    mxid: str
    not_before: int
    not_after: int
    ts: int
    signatures: dict[str, dict[str, str]]


class ThirdPartyId(AdapterBody):
    """A number."""

    medium: Literal["msisdn"]
    address: Annotated[str, _DIGITS]


class UnbindBody(AdapterBody):
    """A number and its user; and a session that validated it, unless the caller is that user."""

    sid: Opaque | None = None
    client_secret: Opaque | None = None
    mxid: UserId
    threepid: ThirdPartyId


class KeyPath(BaseModel):
    """A public key."""

    key_id: str


class PublicKeyAnswer(Answer):
    """A public key as unpadded base64."""

    public_key: str


class PublicKeyQuery(MatrixQuery):
    """A public key as unpadded base64, standard or URL-safe."""

    public_key: str = Field(max_length=255)


class ValidAnswer(Answer):
    """Whether the key is this service's."""

    valid: bool


class InviteBody(AdapterBody):
    """Somebody to invite to a room; further fields about the room are ignored."""

    medium: str = Field(max_length=255)
    address: str = Field(max_length=255)
    room_id: str = Field(max_length=255)
    sender: str = Field(max_length=MAX_LENGTH)


class HashDetailsAnswer(Answer):
    """How to hash numbers."""

    lookup_pepper: str
    algorithms: list[str]


class LookupBody(AdapterBody):
    """A page of addresses."""

    algorithm: str = Field(max_length=64)
    pepper: str = Field(max_length=255)
    addresses: list[str] = Field(max_length=MAX_HASHES)


class MappingsAnswer(Answer):
    """The user of each address that was found."""

    mappings: dict[str, str]


class MatrixError(BaseModel):
    """The body of every error."""

    errcode: str
    error: str
    retry_after_ms: int | None = None
    #: The user of the invited number.
    mxid: str | None = None
