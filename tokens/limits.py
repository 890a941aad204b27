"""Rate limits of PINs and device tokens."""

from datetime import timedelta

from core.clock import HOUR
from core.rate_limits import RateLimit

#: By account, for anyone who registers its number.
PIN_ATTEMPTS = RateLimit("pin-attempts", 10, timedelta(days=10))
#: By number, for its devices when they change the lock. Apart from the attempts above, or a stolen token
#: could use up those of the owner.
DEVICE_PIN_ATTEMPTS = RateLimit("device-pin-attempts", 10, timedelta(days=10))
#: By number: each change costs a slow hash.
PIN_CHANGES = RateLimit("pin-changes", 10, HOUR)
#: By device: each rotation leaves a token that is recognized for a year.
TOKEN_ROTATIONS = RateLimit("token-rotations", 10, HOUR)
