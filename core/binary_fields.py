"""Fields of bytes on the wire: base64url without padding, of one length, in their one spelling."""

from collections.abc import Callable
from typing import Any

from pydantic import WithJsonSchema

from core.base64url import decode


def reads(size: int) -> Callable[[Any], bytes]:
    """Read exactly so many bytes in their one spelling."""

    def read(value: Any) -> bytes:
        data = decode(value, size) if isinstance(value, str) else None
        if data is None:
            raise ValueError(f"must be {size} bytes as base64url without padding")
        return data

    return read


def described(size: int) -> WithJsonSchema:
    """Describe a field of so many bytes in the OpenAPI document."""
    length = -(-size * 4 // 3)
    return WithJsonSchema({"type": "string", "minLength": length, "maxLength": length})
