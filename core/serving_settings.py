"""Settings of a serving worker: connections, time-outs, and the stop."""

from pydantic import Field
from pydantic_settings import BaseSettings


class ServingSettings(BaseSettings):
    """The settings section of connections."""

    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Separate port for `/metrics` on the address of `KITH_HOST`. The main port then"
        " does not serve it.",
    )
    max_connections: int = Field(
        10_000,
        ge=100,
        le=1_000_000,
        description="Maximum connections of a worker, without open sockets. At the maximum, the"
        " connection that has kept the worker waiting the longest is closed.",
    )
    connections_per_address: int = Field(
        1000,
        ge=10,
        le=1_000_000,
        description="Maximum connections from one address (IPv6: one /64) to a worker. Addresses in"
        " `KITH_TRUSTED_PROXIES` have no maximum.",
    )
    connections_per_device: int = Field(
        16,
        ge=4,
        le=1000,
        description="Maximum concurrent requests and sockets of one device in a worker.",
    )
    max_unread_bytes: int = Field(
        134_217_728,
        ge=8_388_608,
        description="Maximum bytes of unread answers in a worker. Above it, the connection that has"
        " read nothing for the longest is closed.",
    )
    head_seconds: float = Field(
        20.0,
        ge=1,
        le=300,
        description="Seconds within which the head of a request must arrive, from its first byte.",
    )
    ping_interval: float = Field(
        20.0,
        ge=1,
        le=300,
        description="Seconds of silence after which a socket is pinged. After twice as many it is"
        " closed.",
    )
    stop_seconds: int = Field(
        30,
        ge=2,
        le=3600,
        description="Seconds that a stopping worker gives running requests to finish.",
    )
