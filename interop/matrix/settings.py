"""Settings of the Matrix adapter."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_settings import NoDecode

from core.setting_types import CertificateFile, Network, distinct, split
from discovery.settings import DiscoverySettings
from verification.settings import VerificationSettings

#: A Matrix server name: a host or an address, and a port where one is part of the name.
ServerName = Annotated[
    str,
    StringConstraints(
        max_length=255,
        to_lower=True,
        pattern=r"^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?$",
    ),
]


class MatrixSettings(VerificationSettings, DiscoverySettings):
    """The settings section of the Matrix adapter."""

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
