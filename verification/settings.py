"""Settings of verifications: texts, codes, code binding and the policy."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from core.phone_numbers import PhoneNumber, mask
from core.setting_types import split
from core.typed_fields import MAX_LOCALE_LENGTH, is_app_hash, read_locale, read_origin
from core.typed_numbers import e164_candidates
from core.typed_text import read_code, visible
from sms.settings import SmsSettings

MAX_APP_NAME_LENGTH = 20


def _origin_host(value: str) -> str:
    try:
        return read_origin(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a host name such as example.com") from None


def _locale(value: str) -> str:
    locale = read_locale(value)
    if locale is None:
        raise ValueError(f"{value!r} is not a language such as en or pt-BR")
    return locale


def _app_hash(value: str) -> str:
    if not is_app_hash(value):
        raise ValueError(f"{value!r} is not an 11-character Android app hash")
    return value


@dataclass(frozen=True)
class TestNumber:
    """A number in E.164, its code of 6 or 8 digits, and the last day it works (UTC; None: no end)."""

    e164: str = field(repr=False)
    code: str = field(repr=False)
    last_day: date | None

    @property
    def number(self) -> PhoneNumber:
        """The number as a phone number, without country and kind."""
        return PhoneNumber(self.e164, "001", "unknown")

    def is_expired(self, now: datetime) -> bool:
        """Return whether its last day has passed; `now` is aware."""
        return self.last_day is not None and now.astimezone(UTC).date() > self.last_day


def _test_numbers(value: object) -> object:
    """Parse `+14155550100=123456@2027-01-31` and the like, separated by commas; the date is optional.

    The numbers need not exist, like those in films. Raises ValueError with one line per error, which names an
    entry by its place or its masked number, never by its code.
    """
    if not isinstance(value, str):
        return value
    parsed: list[TestNumber] = []
    errors: list[str] = []
    entries = (entry.strip() for entry in value.split(","))
    for place, entry in enumerate(filter(None, entries), 1):
        try:
            parsed.append(_test_number(entry, place))
        except ValueError as error:
            errors.append(str(error))
    numbers = [entry.e164 for entry in parsed]
    twice = [e164 for e164 in dict.fromkeys(numbers) if numbers.count(e164) > 1]
    errors += [f"{mask(e164)} is there twice" for e164 in twice]
    if errors:
        raise ValueError("\n".join(errors))
    return tuple(parsed)


def _test_number(entry: str, place: int) -> TestNumber:
    number, _, rest = entry.partition("=")
    typed, at, day = rest.partition("@")
    e164 = next(iter(e164_candidates(number, None)), "") if visible(number).startswith("+") else ""
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", e164):
        raise ValueError(f"entry {place} must begin with a number in E.164 and `=`")
    code = read_code(typed)
    if code is None:
        raise ValueError(f"{mask(e164)} needs a code of 6 or 8 digits after its `=`")
    try:
        last = datetime.strptime(visible(day), "%Y-%m-%d").replace(tzinfo=UTC) if at else None
    except ValueError:
        raise ValueError(f"{mask(e164)} needs a date such as 2027-01-31 after its `@`") from None
    return TestNumber(e164, code, last.date() if last else None)


class VerificationSettings(SmsSettings):
    """The settings section of verifications."""

    RETIRED: ClassVar[Mapping[str, str]] = {
        "KITH_REFUSED_NUMBER_TYPES": "is the rule number-type of the policy now (KITH_POLICY_FILE)",
        "KITH_SENDS_PER_DAY": "is the rule velocity of number-and-requester now (KITH_POLICY_FILE)",
    }

    app_name: str = Field(
        "Kith",
        min_length=1,
        max_length=MAX_APP_NAME_LENGTH,
        pattern=r"^[A-Za-z0-9 .&-]*[A-Za-z0-9]$",
        description="The service's name in texts and calls; without four digits in a row.",
    )
    default_locale: Annotated[str, AfterValidator(_locale)] = Field(
        "en",
        max_length=MAX_LOCALE_LENGTH,
        description="Language of texts and calls if the requested one has no catalogue.",
    )
    policy_file: Path | None = Field(
        None,
        description="TOML file with the policy on texts and calls; empty:"
        " `verification/policy/default.toml`.",
    )
    test_numbers: Annotated[tuple[TestNumber, ...], NoDecode, BeforeValidator(_test_numbers)] = (
        Field(
            (),
            max_length=20,
            description="Numbers that nothing is sent to, with their code and the last day they work, for"
            " reviewers and tests: `+14155550100=123456@2027-01-31`. Production needs the date.",
        )
    )
    web_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_origin_host)], ...], NoDecode, BeforeValidator(split)
    ] = Field(
        (),
        description="Hosts that codes may be bound to, because browsers fill in the code there. Empty:"
        " any in development, none in production.",
    )
    android_app_hashes: Annotated[
        tuple[Annotated[str, AfterValidator(_app_hash)], ...], NoDecode, BeforeValidator(split)
    ] = Field(
        (),
        description="Android SMS Retriever hashes that codes may be bound to, because the app with the"
        " hash reads the code. Empty: any in development, none in production.",
    )
    checks_per_verification: int = Field(
        5, ge=1, le=10, description="Guesses per verification; a resend does not reset them."
    )

    def faults(self) -> list[str]:
        """List what is only wrong together."""
        faults = super().faults()
        if re.search(r"\d{4}", self.app_name):
            faults.append("KITH_APP_NAME must not contain four digits in a row")
        if self.environment == "production":
            faults += [
                f"KITH_TEST_NUMBERS: {mask(entry.e164)} needs its last day in production"
                for entry in self.test_numbers
                if entry.last_day is None
            ]
        return faults
