"""The body of a request, whose faults are the client's.

gunicorn's own raises what no framework knows, so a malformed chunk was a fault of ours (500).
"""

from typing import Any

from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import BadRequest, RequestTimeout

from core.serving.connection import TooSlow

#: Bytes that are read of a body that nobody wanted; with more of it the connection is closed.
MAX_DRAIN_BYTES = 1_048_576


class RequestBody:
    """What the application reads; the connection ends after a body that cannot be read."""

    def __init__(self, body: Any, request: Any) -> None:
        self._body = body
        self._request = request

    def read(self, size: int = -1) -> bytes:
        """Read up to so many bytes; raises RequestTimeout or BadRequest."""
        try:
            data: bytes = self._body.read(None if size is None or size < 0 else size)
        except TooSlow:
            self._request.force_close()
            raise RequestTimeout from None
        except (ParseException, NoMoreData):
            self._request.force_close()
            raise BadRequest from None
        return data

    @property
    def is_unread(self) -> bool:
        """Say whether there may be more of it."""
        reader = self._body.reader
        length = getattr(reader, "length", None)
        return length > 0 if length is not None else getattr(reader, "parser", None) is not None

    def drain(self) -> bool:
        """Read what nobody read; say whether the next request can follow."""
        if not self.is_unread:
            return not self.failed
        left = MAX_DRAIN_BYTES
        try:
            while left > 0 and (data := self._body.read(65_536)):
                left -= len(data)
        except (TooSlow, ParseException, OSError):
            return False
        return left > 0

    @property
    def failed(self) -> bool:
        """Say whether it could not be read."""
        return bool(self._body.failed)

    def __getattr__(self, name: str) -> Any:
        """Give the rest of what a stream does."""
        return getattr(self._body, name)
