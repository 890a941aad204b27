"""Durations such as `90s`, `10m`, `12h` and `7d`, in TOML files and in options of commands."""

import re
from datetime import timedelta
from typing import Annotated, Any

import click
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _parse(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,8}[smhd]", value):
        return timedelta(**{_UNITS[value[-1]]: int(value[:-1])})
    raise ValueError("write a duration as 90s, 10m, 1h or 1d")


#: From one second to 30 days.
Duration = Annotated[
    timedelta, BeforeValidator(_parse), Field(ge=timedelta(seconds=1), le=timedelta(days=30))
]


class DurationOption(click.ParamType[timedelta]):
    """The type of an option that takes a duration."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the duration; fails with a usage error."""
        try:
            return TypeAdapter(Duration).validate_python(value)
        except ValidationError:
            return self.fail("write a duration as 90s, 10m, 12h or 7d; at most 30d", param, ctx)
