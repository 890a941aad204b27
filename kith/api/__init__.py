"""The calls of the API, one module for each part; `kith.client.Kith` joins them."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Unpack
from urllib.parse import quote

from kith.models import Model, decode
from kith.transport import CallOptions, Transport


class ApiCalls:
    """Base class of the calls: the transport, and the function that solves challenges."""

    _transport: Transport
    _solve_challenge: Callable[[Mapping[str, Any]], str] | None

    def _read(
        self,
        model: type[Model],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Model:
        """Return the answer to one request as `model`; raise KithError."""
        return decode(model, self._transport.call(method, path, body, **options).content)


def path_segment(identifier: str) -> str:
    """Return an id as one segment of a path; raise ValueError for one that would change the path."""
    if identifier in ("", ".", ".."):
        raise ValueError("An id must not be empty or dots only.")
    return quote(identifier, safe="")


def new_idempotency_key() -> str:
    """Return a new Idempotency-Key; every retry of one call sends the same one."""
    return str(uuid.uuid4())


def without_none(**members: Any) -> dict[str, Any]:
    """Return the members of a request that were given."""
    return {name: value for name, value in members.items() if value is not None}
