"""Rate limits of the Matrix adapter."""

from core.clock import DAY, HOUR
from core.rate_limits import RateLimit

#: Both by network: each request asks a homeserver that a stranger named.
REGISTRATIONS = RateLimit("matrix-registrations", 60, HOUR)
SERVER_KEY_REQUESTS = RateLimit("matrix-server-key-requests", 60, HOUR)


def unproven_limits(share: int, by_homeserver: int, in_total: int) -> tuple[RateLimit, ...]:
    """Return the limits on hashes that users without a proven number look up, the busiest last.

    By network, subnet, registrable domain of the homeserver, and in all. share: hashes a network.
    """
    return (
        RateLimit("matrix-unproven-network", share, DAY, "fixed-window"),
        RateLimit("matrix-unproven-subnet", 4 * share, DAY, "fixed-window"),
        RateLimit("matrix-homeserver", by_homeserver, DAY, "fixed-window"),
        RateLimit("matrix-unproven", in_total, DAY, "fixed-window"),
    )
