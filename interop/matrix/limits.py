"""Rate limits of the Matrix adapter."""

from core.clock import DAY, HOUR
from core.rate_limits import RateLimit

#: Both by network: each request asks a homeserver that a stranger named.
REGISTRATIONS = RateLimit("matrix-registrations", 60, HOUR)
SERVER_KEY_REQUESTS = RateLimit("matrix-server-key-requests", 60, HOUR)


def unverified_limits(share: int, by_homeserver: int, in_total: int) -> tuple[RateLimit, ...]:
    """Return the limits on hashes that users without a verified number look up, the busiest last.

    By network, subnet, registrable domain of the homeserver, and in all. share: hashes a network.
    """
    return (
        RateLimit("matrix-unverified-network", share, DAY, "fixed-window"),
        RateLimit("matrix-unverified-subnet", 4 * share, DAY, "fixed-window"),
        RateLimit("matrix-homeserver", by_homeserver, DAY, "fixed-window"),
        RateLimit("matrix-unverified", in_total, DAY, "fixed-window"),
    )
