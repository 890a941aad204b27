"""Redaction of gunicorn's log and of everything else on standard error."""

import logging
from typing import Any, TextIO

from gunicorn.glogging import Logger

from core.logs import redact


class RedactedFormatter(logging.Formatter):
    """Formats a record with its traceback, and masks secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text."""
        return redact(super().format(record))


class RedactedLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's logger with that formatter."""

    def setup(self, cfg: Any) -> None:
        """Read the configuration."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                given = handler.formatter
                handler.setFormatter(
                    RedactedFormatter(
                        given._fmt if given else None, given.datefmt if given else None
                    )
                )


class RedactedStream:
    """Standard error of a worker: gevent and Python write tracebacks there by themselves."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, masked."""
        self._stream.write(redact(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        """Delegate to the stream."""
        return getattr(self._stream, name)
