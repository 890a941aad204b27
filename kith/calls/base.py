"""Own what all typed calls share: the request they go through and how ids become parts of an
address.
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from kith.errors import KithAnswerUnreadable
from kith.models import Model, read
from kith.requests import Requests


class Calls:
    """Hold the requests of one client, and what solves the challenges that it is set."""

    _requests: Requests
    _solve_challenge: Callable[[Mapping[str, Any]], str] | None


def segment(identifier: str) -> str:
    """Return an id as one segment of an address; raise ValueError for one that would change the
    address.
    """
    if identifier in ("", ".", ".."):
        raise ValueError("An id must not be empty or dots only.")
    return quote(identifier, safe="")


def fresh_key() -> str:
    """Return a new Idempotency-Key; the same one goes with every retry of one call."""
    return str(uuid.uuid4())


def answer(model: type[Model], response: httpx.Response) -> Model:
    """Return the answer's JSON as `model`; raise KithAnswerUnreadable when it is not."""
    try:
        document = response.json()
    except (ValueError, RecursionError):
        raise KithAnswerUnreadable("The answer is not JSON. Is this a Kith server?") from None
    return read(model, document)
