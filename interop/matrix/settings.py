"""Settings of the Matrix adapter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

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

    RETIRED: ClassVar[Mapping[str, str]] = {
        "KITH_MATRIX_HOMESERVER_CEILING": "is called KITH_MATRIX_HOMESERVER_LOOKUPS_PER_DAY now",
        "KITH_MATRIX_UNPROVEN_CEILING": "is called KITH_MATRIX_UNVERIFIED_LOOKUPS_PER_DAY now",
    }

    matrix_enabled: bool = Field(
        False,
        description="Enable the Matrix adapter. Its clients name homeservers, and this host sends"
        " requests to them.",
    )
    matrix_server_name: str | None = Field(
        None,
        max_length=230,
        pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$",
        description="Homeserver name under which Matrix users find accounts without a binding, as"
        " `@<account id>:<this name>`. Empty: they are not found.",
    )
    matrix_terms_file: Path | None = Field(
        None,
        description="TOML file with the terms of service that Matrix users must accept. Empty:"
        " none.",
    )
    matrix_allowed_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = (
        Field(
            (),
            description="Networks, besides the public Internet, in which homeservers are allowed.",
        )
    )
    matrix_ca_file: CertificateFile | None = Field(
        None,
        description="Certificate authorities (PEM) of homeservers, instead of the public ones.",
    )
    matrix_plain_lookups: bool = Field(
        False,
        description="Allow Matrix users to look up numbers without hashing (`none`).",
    )
    matrix_homeservers: Annotated[
        tuple[ServerName, ...], NoDecode, BeforeValidator(split), AfterValidator(distinct)
    ] = Field(
        (),
        description="Server names of homeservers whose users can look up numbers without a verified"
        " number. A name without a port includes all ports. Empty: none.",
    )
    matrix_homeserver_lookups_per_day: int = Field(
        1_000,
        ge=1,
        le=1_000_000_000,
        description="New hashes per day for all users without a verified number on homeservers"
        " under one registered domain.",
    )
    matrix_unverified_lookups_per_day: int = Field(
        2_500,
        ge=1,
        le=1_000_000_000,
        description="New hashes per day for all users without a verified number together.",
    )
