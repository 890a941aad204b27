"""What crosses the wire about discovery."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import FailFast, Field, StringConstraints

from core.api import Answer, Body
from discovery.hashes import HASH_PATTERN

MOST_HASHES = 10_000


class ParametersAnswer(Answer):
    """How to hash numbers now, and how many hashes a lookup takes."""

    epoch: str
    algorithm: Literal["sha256"] = "sha256"
    salt: str = Field(description="Goes into the hash as this text, not as the bytes it encodes.")
    max_hashes: int
    expires_at: datetime | None


#: The pattern is checked in pydantic's Rust core, and the first wrong hash ends it: 10,000 of them
#: would take 80 ms to report, 0.2 ms this way.
Hashes = Annotated[list[Annotated[str, StringConstraints(pattern=HASH_PATTERN)]], FailFast()]


class Lookup(Body):
    """A page of hashed numbers."""

    epoch: str = Field(
        max_length=64, description="The epoch of the parameters they were made with."
    )
    hashes: Hashes = Field(
        max_length=MOST_HASHES,
        description="Base64url without padding of SHA-256 over UTF-8"
        ' "<E.164 digits without +> msisdn <salt>"; at most `max_hashes` of the parameters.',
    )


class LookupAnswer(Answer):
    """The account of each hash that is a discoverable person's."""

    matches: dict[str, UUID]
