"""Settings of the doors for other protocols: CAMARA and Matrix."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_settings import BaseSettings, NoDecode

from core.setting_types import CertificateFile, Network, distinct, split

#: A Matrix server name: a host or an address, and a port where one is part of the name.
ServerName = Annotated[
    str,
    StringConstraints(
        max_length=255,
        to_lower=True,
        pattern=r"^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?$",
    ),
]


class DoorSettings(BaseSettings):
    """The part of the settings that is about `interop/`."""

    camara_message_length: int = Field(
        160, ge=8, le=160, description="Longest message that the CAMARA door takes, in characters."
    )
    camara_sends_per_day: int = Field(
        5, ge=1, le=1000, description="Codes a number and service through it, refilled over a day."
    )
    camara_checks: int = Field(5, ge=1, le=10, description="Guesses a code sent through it.")
    camara_lifetime: int = Field(
        600, ge=60, le=3600, description="Seconds a code sent through it can be validated."
    )
    matrix_enabled: bool = Field(
        False,
        description="Whether the Matrix door is open. Behind it strangers name homeservers that this"
        " host then asks, so it opens only when told to.",
    )
    matrix_server_name: str | None = Field(
        None,
        max_length=230,
        pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$",
        description="Homeserver under which people who registered natively are found through the"
        " Matrix door, as `@<account id>:<this name>`; empty: they are not found there.",
    )
    matrix_terms_file: Path | None = Field(
        None,
        description="TOML file with the terms of service that are to be accepted at the Matrix door;"
        " empty: there are none.",
    )
    matrix_allowed_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = (
        Field(
            (),
            description="Networks besides the public Internet in which homeservers may be asked.",
        )
    )
    matrix_ca_file: CertificateFile | None = Field(
        None,
        description="Certificates (PEM) under which homeservers' are believed, instead of the public"
        " authorities'.",
    )
    matrix_plain_lookups: bool = Field(
        False,
        description="Whether the Matrix door also looks up numbers that are not hashed (`none`).",
    )
    matrix_homeservers: Annotated[
        tuple[ServerName, ...], NoDecode, BeforeValidator(split), AfterValidator(distinct)
    ] = Field(
        (),
        description="Homeservers whose users may look up before they have proven a number, by server"
        " name; a name without a port stands for all its ports. Empty: nobody may.",
    )
    matrix_homeserver_ceiling: int = Field(
        1_000,
        ge=1,
        le=1_000_000_000,
        description="New hashes a day that such users of all homeservers under one registered domain"
        " may look up together.",
    )
    matrix_unproven_ceiling: int = Field(
        2_500,
        ge=1,
        le=1_000_000_000,
        description="New hashes a day that all such users may look up together.",
    )
