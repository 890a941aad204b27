"""Rate limits of verifications; those on sends come from the policy file (policy/rules.py)."""

from core.clock import DAY
from core.rate_limits import RateLimit

#: By number. After this many its codes have 8 digits; both count in one window.
WRONG_CODES_6_DIGITS = RateLimit("wrong-codes", 25, DAY, "fixed-window")
#: By number. After this many no code of it is checked until the window ends.
WRONG_CODES = RateLimit("wrong-codes", 2_500, DAY, "fixed-window")
SENDS_BY_SERVICE = "sends-by-service"


def sends_by_service(quota: int) -> RateLimit:
    """Return the limit on sends by number and service, beside the policy."""
    return RateLimit(SENDS_BY_SERVICE, quota, DAY)
