"""Settings of how a worker serves: its connections, how long it waits for peers, and how it stops."""

from pydantic import Field
from pydantic_settings import BaseSettings


class ServingSettings(BaseSettings):
    """The part of the settings that is about connections."""

    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Port that serves `/metrics` and nothing else, on the address of `KITH_HOST`; it is then"
        " not at the other port.",
    )
    max_connections: int = Field(
        10_000,
        ge=100,
        le=1_000_000,
        description="Connections of a worker, open sockets not counted. When there are as many, who has kept"
        " the worker waiting the longest gives way.",
    )
    connections_per_address: int = Field(
        1000,
        ge=10,
        le=1_000_000,
        description="Connections from one address (IPv6: from one /64) to a worker; addresses in"
        " `KITH_TRUSTED_PROXIES` have no bound.",
    )
    connections_per_device: int = Field(
        16, ge=4, le=1000, description="Requests and sockets of one device at a time, in a worker."
    )
    max_unread_bytes: int = Field(
        134_217_728,
        ge=8_388_608,
        description="Bytes of answers that wait for their readers, in a worker; beyond them, who has taken"
        " nothing for the longest is cut off.",
    )
    head_seconds: float = Field(
        20.0,
        ge=1,
        le=300,
        description="Seconds in which the head of a request has to come, from its first byte.",
    )
    ping_interval: float = Field(
        20.0,
        ge=1,
        le=300,
        description="Seconds of silence after which an open socket is asked whether it is there;"
        " after twice as many it is closed.",
    )
    stop_seconds: int = Field(
        30,
        ge=2,
        le=3600,
        description="Seconds that a worker which is told to stop gives to what is still running.",
    )
