"""Requests and answers of discovery."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import ConfigDict, FailFast, Field, StringConstraints

from core.parsing import Answer, Body, Query
from discovery.digests import HASH_PATTERN

MAX_HASHES = 10_000
MAX_EPOCH_LENGTH = 64
MAX_TOKEN_LENGTH = 128
#: Concatenated digests, 32 bytes each.
HASHES_TYPE = "application/vnd.kith.hashes"
#: For each match the position of its hash in the request (uint32, little-endian) and the account id (16
#: bytes).
MATCHES_TYPE = "application/vnd.kith.matches"
TOKEN_HEADER = "Kith-Sync-Token"


class BudgetAnswer(Answer):
    """How many new hashes the budget holds."""

    left: int
    capacity: int
    refill_per_day: int


class PreviousEpochAnswer(Answer):
    """The former parameters, while lookups with them are answered."""

    epoch: str
    salt: str
    expires_at: datetime


class ParametersAnswer(Answer):
    """How to hash numbers, and how many hashes a lookup takes."""

    epoch: str
    algorithm: Literal["sha256"] = "sha256"
    salt: str = Field(description="Hashed as this text, not as the bytes that it encodes.")
    max_hashes: int
    expires_at: datetime | None
    previous: PreviousEpochAnswer | None
    budget: BudgetAnswer
    budget_owner: str = Field(
        description="The account or service that pays and that sync tokens are bound to; the same for all"
        " tokens of a service."
    )


#: pydantic's Rust core checks the pattern and stops at the first wrong hash: reporting 10,000 of them would
#: take
#: 80 ms instead of 0.2 ms.
Hashes = Annotated[list[Annotated[str, StringConstraints(pattern=HASH_PATTERN)]], FailFast()]


class Lookup(Body):
    """A page of hashed numbers."""

    epoch: str = Field(
        max_length=MAX_EPOCH_LENGTH,
        description="The epoch of the parameters that they were made with.",
    )
    hashes: Hashes = Field(
        max_length=MAX_HASHES,
        description="Base64url without padding of SHA-256 over UTF-8"
        ' "<E.164 digits without +> msisdn <salt>". At most `max_hashes`, including `known`.',
    )
    known: Hashes = Field(
        default=[],
        max_length=MAX_HASHES,
        description="Hashes that `sync_token` proves to be paid for; looked up again for free.",
    )
    sync_token: str | None = Field(
        default=None,
        max_length=MAX_TOKEN_LENGTH,
        description="The `sync_token` that the lookup of exactly the hashes in `known` was answered with.",
    )


class BinaryLookup(Query):
    """Parameters of a lookup in binary."""

    epoch: str | None = Field(
        default=None,
        max_length=MAX_EPOCH_LENGTH,
        description=f"With a body of {HASHES_TYPE}: the epoch of the parameters.",
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
        description=f"With a body of {HASHES_TYPE}: proves that the known hashes are paid for.",
    )


#: The binary form of the answer, for the OpenAPI document.
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
    """The accounts of hashes that lead to one."""

    model_config = cast(ConfigDict, {"openapi_extra": LOOKUP_ANSWER})

    matches: dict[str, UUID]
    sync_token: str = Field(description="Proves that the hashes of this lookup are paid for.")
    budget: BudgetAnswer


#: The binary form of the request, for the OpenAPI document.
BINARY_BODY: dict[str, Any] = {HASHES_TYPE: {"schema": {"type": "string", "format": "binary"}}}
