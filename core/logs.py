"""Structured logs: one event per line, with numbers and tokens masked whatever a line holds."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import click
import structlog

from core.phone_numbers import mask
from core.settings import CoreSettings

#: After a plus, or what stands for it in the target of a request.
_NUMBER = re.compile(r"((?<!\w)\+|%2[Bb])(\d{7,17})(?!\d)")
#: Tokens of every kind: whatever follows `kith`.
_TOKEN = re.compile(r"kith[a-z]*_[A-Za-z0-9_-]+")
#: Secrets of webhooks (Standard Webhooks), and credentials in a header of any kind.
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_-]+")
#: An id that authorizes, in a path: of a verification for one.
_SEGMENT = re.compile(r"(?<=/)[A-Za-z0-9_-]{32,}")
_CREDENTIAL = re.compile(r"(?i)\b(bearer|basic)(\s+|\.|%20)[A-Za-z0-9._~+/=-]{8,}")


def redact(text: str) -> str:
    """Mask E.164 numbers, long ids in paths and anything that looks like a token in a text."""
    text = _NUMBER.sub(lambda number: mask(f"+{number[2]}"), text)
    text = _WEBHOOK_SECRET.sub("whsec_…", _TOKEN.sub("kith_…", text))
    text = _SEGMENT.sub("…", text)
    return _CREDENTIAL.sub(r"\1\2…", text)


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: v if key.startswith("_") else _redacted(v) for key, v in event.items()}


def _redacted(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {redact(str(key)): _redacted(part) for key, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(part) for part in value]
        case _:
            return redact(str(value))


def configure(settings: CoreSettings) -> None:
    """Send structlog and the standard library's loggers to standard output, one line an event.

    In an operator's command standard output is the command's own, so the log goes to standard error.
    """
    in_command = click.get_current_context(silent=True) is not None
    stream = sys.stderr if in_command else sys.stdout
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream if in_command else None),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries log what they send (the Twilio SDK and smpplib: whole texts); only their warnings pass.
    root.setLevel(max(level, logging.WARNING))
    for name in ("twilio", "twilio.http_client", "urllib3", "httpx", "smpp", "smpplib"):
        logging.getLogger(name).setLevel(logging.WARNING)
