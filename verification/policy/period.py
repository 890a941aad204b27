"""A time such as 7d, as the options of commands and the policy file write it."""

from datetime import timedelta
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from verification.policy.rules import Duration


class Period(click.ParamType[timedelta]):
    """A time such as 90s, 10m, 12h or 7d, as the policy file writes it."""

    name = "period"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it."""
        try:
            return TypeAdapter(Duration).validate_python(value)
        except ValidationError:
            return self.fail("write a time as 90s, 10m, 12h or 7d; at most 30d", param, ctx)
