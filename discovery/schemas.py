"""What crosses the wire about discovery."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import ConfigDict, FailFast, Field, StringConstraints

from core.api import Answer, Body, Query
from discovery.hashes import HASH_PATTERN

MAX_HASHES = 10_000
MAX_EPOCH_LENGTH = 64
MAX_TOKEN_LENGTH = 128
#: Digests, 32 bytes each, one after the other.
HASHES_TYPE = "application/vnd.kith.hashes"
#: For each match the place of its hash in the request, 4 bytes, little-endian, and 16 bytes of account id.
MATCHES_TYPE = "application/vnd.kith.matches"
TOKEN_HEADER = "Kith-Sync-Token"


class BudgetAnswer(Answer):
    """How many hashes may be asked about that were not paid for before."""

    left: int
    capacity: int
    refill_per_day: int


class PreviousEpochAnswer(Answer):
    """The parameters before, in which lookups are still answered."""

    epoch: str
    salt: str
    expires_at: datetime


class ParametersAnswer(Answer):
    """How to hash numbers now, and how many hashes a lookup takes."""

    epoch: str
    algorithm: Literal["sha256"] = "sha256"
    salt: str = Field(description="Goes into the hash as this text, not as the bytes it encodes.")
    max_hashes: int
    expires_at: datetime | None
    previous: PreviousEpochAnswer | None
    budget: BudgetAnswer
    asker: str = Field(
        description="Whose budget it is, and whom sync tokens are bound to: an account, or a service of"
        " the operator's under any of its tokens."
    )


#: The pattern is checked in pydantic's Rust core, and the first wrong hash ends it: 10,000 of them
#: would take 80 ms to report, 0.2 ms this way.
Hashes = Annotated[list[Annotated[str, StringConstraints(pattern=HASH_PATTERN)]], FailFast()]


class Lookup(Body):
    """A page of hashed numbers."""

    epoch: str = Field(
        max_length=MAX_EPOCH_LENGTH, description="The epoch of the parameters they were made with."
    )
    hashes: Hashes = Field(
        max_length=MAX_HASHES,
        description="Base64url without padding of SHA-256 over UTF-8"
        ' "<E.164 digits without +> msisdn <salt>"; those of `known` included, at most `max_hashes`'
        " of the parameters.",
    )
    known: Hashes = Field(
        default=[],
        max_length=MAX_HASHES,
        description="The hashes that `sync_token` proves to be paid for; looked up again at no cost.",
    )
    sync_token: str | None = Field(
        default=None,
        max_length=MAX_TOKEN_LENGTH,
        description="What the lookup of exactly the hashes in `known` was answered with.",
    )


class BinaryLookup(Query):
    """What goes with a page of hashes in binary, and with no other."""

    epoch: str | None = Field(
        default=None,
        max_length=MAX_EPOCH_LENGTH,
        description=f"With a body of {HASHES_TYPE}: the epoch they were made in.",
    )
    known: int = Field(
        default=0,
        ge=0,
        le=MAX_HASHES,
        description=f"With a body of {HASHES_TYPE}: how many of its first hashes are known.",
    )
    sync_token: str | None = Field(
        default=None,
        max_length=MAX_TOKEN_LENGTH,
        description=f"With a body of {HASHES_TYPE}: what proves that these are paid for.",
    )


#: What flask-openapi3 says of an answer beside its JSON.
LOOKUP_ANSWER: dict[str, Any] = {
    "content": {MATCHES_TYPE: {}},
    "headers": {
        TOKEN_HEADER: {
            "description": f"The sync token, with an answer of {MATCHES_TYPE}.",
            "schema": {"type": "string"},
        }
    },
}


class LookupAnswer(Answer):
    """The account of each hash that is a discoverable person's."""

    model_config = cast(ConfigDict, {"openapi_extra": LOOKUP_ANSWER})

    matches: dict[str, UUID]
    sync_token: str = Field(description="Proves that the hashes of this lookup are paid for.")
    budget: BudgetAnswer


#: The form beside JSON in which a page is taken.
BINARY_BODY: dict[str, Any] = {HASHES_TYPE: {"schema": {"type": "string", "format": "binary"}}}
