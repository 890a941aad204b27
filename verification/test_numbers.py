"""Test numbers: for reviewers of app stores and end-to-end suites, never sent to, their code fixed.

Owns which number is one and until when. Refuses it afterwards, so that it does not turn into a number
that is sent to. What is a limit on guessing for any number is one for these.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from core.metrics import Metrics
from core.phone_numbers import mask
from core.secrets import Keyring
from core.settings import SettingsError
from core.test_numbers import TestNumber
from core.typed_numbers import forms_of, read_region
from verification.problems import TestNumberExpired
from verification.settings import VerificationSettings

log = structlog.get_logger()

#: How far ahead a last day may be in production: a fixed code is a door to keep an eye on.
LONGEST = timedelta(days=90)


class TestNumbers:
    """Knows the test numbers and their codes."""

    def __init__(
        self,
        settings: VerificationSettings,
        keyring: Keyring,
        clock: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._numbers = {entry.e164: entry for entry in settings.test_numbers}
        self._clock = clock
        self._metrics = metrics
        #: Codes by the digest of their number, under every accepted secret.
        self.by_digest: Mapping[bytes, str] = {
            digest: entry.code
            for entry in settings.test_numbers
            for digest in keyring.digests("number", entry.e164)
        }
        _look_at_dates(settings, clock())

    def find(self, text: str, region: str | None) -> TestNumber | None:
        """Find what a person typed among the test numbers; raises TestNumberExpired."""
        if not self._numbers:
            return None
        # They need not be valid, so any form that the text may have is looked for.
        forms = forms_of(text, read_region(region) if region else None)
        found = next((self._numbers[form] for form in forms if form in self._numbers), None)
        if found and found.is_over(self._clock()):
            raise TestNumberExpired("Its last day has passed; the operator sets another one.")
        return found

    def used(self, entry: TestNumber) -> None:
        """Tell operators that a verification of a test number was started."""
        self._metrics.test_numbers.inc()
        log.info("test_number.used", number=mask(entry.e164))


def _look_at_dates(settings: VerificationSettings, now: datetime) -> None:
    """Warn of what is over; raise SettingsError for a last day that is too far in production."""
    latest = (now + LONGEST).date()
    faults = []
    for entry in settings.test_numbers:
        number = mask(entry.e164)
        if entry.is_over(now):
            log.warning("test_number.expired", number=number, last_day=str(entry.last_day))
        elif entry.last_day and entry.last_day > latest:
            faults.append(f"{number} must end within {LONGEST.days} days, by {latest}")
    if faults and settings.environment == "production":
        raise SettingsError.listing(f"KITH_TEST_NUMBERS: {fault}" for fault in faults)
