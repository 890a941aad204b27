"""Settings of the database: its address, prepared statements, and the reserve on its disk."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings

from core.postgresql import check_url, read_url

#: Values of `sslmode` that encrypt the connection.
_ENCRYPTED = ("require", "verify-ca", "verify-full")


class DatabaseSettings(BaseSettings):
    """The settings section of the database."""

    data_dir: Path = Field(
        Path("data"),
        description="Directory of the SQLite database and of the secrets generated in development.",
    )
    database_url: str = Field(
        "",
        description="SQLAlchemy address of the database, `sqlite:///…` or `postgresql+psycopg://…`,"
        " with several hosts `postgresql+psycopg://user@h1:5432,h2:5432/name`. Empty:"
        " `kith.db` in the data directory.",
    )
    database_prepared_statements: bool | None = Field(
        None,
        description="Whether PostgreSQL prepares statements. Empty: yes, except behind a pooler"
        " such as PgBouncer.",
    )
    storage_reserve_bytes: int = Field(
        134_217_728,
        ge=0,
        le=2**40,
        description="Bytes reserved on SQLite's disk, so that a full disk still allows deleting and"
        " acknowledging. 0: no reserve.",
    )

    @property
    def resolved_database_url(self) -> str:
        """The database's address, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'kith.db'}"

    def faults_of_database(self) -> list[str]:
        """Return what is wrong with the address."""
        try:
            url = read_url(self.resolved_database_url)
            backend, memory = url.get_backend_name(), url.database in (None, "", ":memory:")
            if url.drivername not in ("sqlite", "postgresql", "postgresql+psycopg"):
                raise ValueError("it must be sqlite:///path or postgresql+psycopg://user@host/name")
            if backend == "sqlite" and (url.host or memory):
                raise ValueError("of SQLite it must be sqlite:///path, a file")
            if backend == "postgresql":
                check_url(url)
        except ValueError as error:
            return [f"KITH_DATABASE_URL: {error}"]
        return []

    def warnings_of_database(self) -> list[str]:
        """Return which connections to the database are unprotected."""
        url = read_url(self.resolved_database_url)
        if url.get_backend_name() == "sqlite":
            return []
        hosts = url.host or url.query.get("host", "")
        names = hosts.split(",") if isinstance(hosts, str) else [h.split(":")[0] for h in hosts]
        # A socket of this machine, or its loopback.
        near = all(
            not name or name[0] in "/@" or name in ("127.0.0.1", "::1", "localhost")
            for name in names
        )
        if near or url.query.get("sslmode") in _ENCRYPTED:
            return []
        return ["KITH_DATABASE_URL names no sslmode: add ?sslmode=verify-full, or require"]
