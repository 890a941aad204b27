"""The body of a request; a malformed one is the client's error.

gunicorn's own body raises exceptions that no framework knows, so a malformed chunk would be a 500.
"""

from typing import Any

from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import BadRequest, RequestTimeout

from core.serving.connection import TooSlow

#: Bytes read of a body that the application left unread; if there are more, the connection is closed.
MAX_DRAIN_BYTES = 1_048_576


class RequestBody:
    """The stream that the application reads; the connection closes after a malformed body."""

    def __init__(self, body: Any, request: Any) -> None:
        self._body = body
        self._request = request

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; raises RequestTimeout or BadRequest."""
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
        """Return whether there may be more of it."""
        reader = self._body.reader
        length = getattr(reader, "length", None)
        return length > 0 if length is not None else getattr(reader, "parser", None) is not None

    def drain(self) -> bool:
        """Read the rest; return whether the next request can follow."""
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
        """Return whether it could not be read."""
        return bool(self._body.failed)

    def __getattr__(self, name: str) -> Any:
        """Delegate to the stream."""
        return getattr(self._body, name)
