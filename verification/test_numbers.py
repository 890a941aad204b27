"""Test numbers: for app store reviewers and end-to-end tests. Nothing is sent to them.

After its last day a test number is refused, so that it never becomes a number that is sent to. Limits on
guessing apply to it like to any number.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from core.phone_numbers import mask
from core.secrets import Keyring
from core.settings import SettingsError
from core.typed_numbers import e164_candidates, read_region
from verification.metrics import VerificationMetrics
from verification.problems import TestNumberExpired
from verification.settings import TestNumber, VerificationSettings

log = structlog.get_logger()

#: How far ahead a last day may be in production.
MAX_VALIDITY = timedelta(days=90)


class TestNumbers:
    """The test numbers of the settings and their codes."""

    def __init__(
        self,
        settings: VerificationSettings,
        keyring: Keyring,
        clock: Callable[[], datetime],
        metrics: VerificationMetrics,
    ) -> None:
        self._numbers = {entry.e164: entry for entry in settings.test_numbers}
        self._clock = clock
        self._metrics = metrics
        #: Codes by the digest of their number under every accepted secret.
        self.codes: Mapping[bytes, str] = {
            digest: entry.code
            for entry in settings.test_numbers
            for digest in keyring.digests("number", entry.e164)
        }
        _check_last_days(settings, clock())

    def find(self, text: str, region: str | None) -> TestNumber | None:
        """Return the test number that a person typed; None if it is none. Raises TestNumberExpired."""
        if not self._numbers:
            return None
        # They need not be valid numbers, so every form of the text is looked up.
        forms = e164_candidates(text, read_region(region) if region else None)
        found = next((self._numbers[form] for form in forms if form in self._numbers), None)
        if found and found.is_expired(self._clock()):
            raise TestNumberExpired("Its last day has passed; the operator can set another one.")
        return found

    def record_use(self, entry: TestNumber) -> None:
        """Count and log a started verification of a test number."""
        self._metrics.test_numbers.inc()
        log.info("test_number.used", number=mask(entry.e164))


def _check_last_days(settings: VerificationSettings, now: datetime) -> None:
    """Warn of expired test numbers; raise SettingsError for a last day too far ahead in production."""
    latest = (now + MAX_VALIDITY).date()
    faults = []
    for entry in settings.test_numbers:
        number = mask(entry.e164)
        if entry.is_expired(now):
            log.warning("test_number.expired", number=number, last_day=str(entry.last_day))
        elif entry.last_day and entry.last_day > latest:
            faults.append(f"{number} must end within {MAX_VALIDITY.days} days, by {latest}")
    if faults and settings.environment == "production":
        raise SettingsError.from_faults(f"KITH_TEST_NUMBERS: {fault}" for fault in faults)
