"""The address of the database: how several hosts are written, and what is refused in words."""

import pytest

from core.database_settings import DatabaseSettings
from core.postgresql import check_url, read_url
from settings import Settings

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("written", "hosts", "ports"),
    [
        ("postgresql+psycopg://h1:5433,h2:5434/kith", "h1,h2", "5433,5434"),
        ("postgresql://kith:p%2C@h1,h2:6000,h3/kith?sslmode=require", "h1,h2,h3", "5432,6000,5432"),
        ("postgresql+psycopg://u@[::1]:5433,10.0.0.1/kith", "::1,10.0.0.1", "5433,5432"),
        ("postgresql+psycopg://u@/kith?host=h1:1&host=h2:2", "h1,h2", "1,2"),
    ],
)
def test_several_hosts(written: str, hosts: str, ports: str) -> None:
    """As libpq writes them, or as SQLAlchemy does: the driver gets a list of each."""
    url = read_url(written)
    check_url(url)
    dialect = url.set(drivername="postgresql+psycopg").get_dialect()()
    _, given = dialect.create_connect_args(url)
    assert (given["host"], str(given["port"])) == (hosts, ports)
    assert read_url(url.render_as_string(hide_password=False)) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"postgresql+psycopg://u:{SECRET}@h1:port,h2/kith", "host or host:port"),
        (f"postgresql+psycopg://u:{SECRET}@h1:1:2,h2/kith", "host or host:port"),
        (f"postgresql+psycopg://u:{SECRET}@h1:port/kith", "cannot be read"),
        (f"postgresql+psycopg://u:{SECRET}@h/kith?prepare_threshold=soon", "prepare_threshold"),
        (f"postgresql+psycopg://u:{SECRET}@h/kith?tcp_user_timeout=5s", "tcp_user_timeout"),
        (f"postgresql+psycopg://u:{SECRET}@h/kith?pool=3", "pool"),
        (f"postgresql+asyncpg://u:{SECRET}@h/kith", "postgresql+psycopg"),
        (f"mysql://u:{SECRET}@h/kith", "postgresql+psycopg"),
        ("sqlite:///:memory:", "a file"),
        ("sqlite://", "a file"),
        ("kith.db", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(url: str, why: str) -> None:
    """At the start, with what is wrong and without the password."""
    (fault,) = DatabaseSettings(database_url=url).faults_of_database()
    assert fault.startswith("KITH_DATABASE_URL: ")
    assert why in fault
    assert SECRET not in fault


PRODUCTION = {
    "environment": "production",
    "secret_key": "k" * 32,
    "sms_provider": ("smpp",),
    "smpp_host": "smsc.example.com",
    "smpp_system_id": "kith",
    "smpp_password": "p",
    "smpp_from": "Kith",
    "smpp_tls": True,
    "public_url": "https://id.example.com",
}


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"database_url": "postgresql://u@db/kith"}, ["KITH_DATABASE_URL"]),
        ({"database_url": "postgresql://u@db/kith?sslmode=prefer"}, ["KITH_DATABASE_URL"]),
        ({"database_url": "postgresql://u@localhost,db/kith"}, ["KITH_DATABASE_URL"]),
        ({"database_url": "postgresql://u@db/kith?sslmode=verify-full"}, []),
        ({"database_url": "postgresql://u@localhost/kith"}, []),
        ({"database_url": "postgresql://u@/kith?host=/run/postgresql"}, []),
        ({"valkey_url": "valkey://cache:6379"}, ["KITH_VALKEY_URL"]),
        ({"valkey_url": "valkeys://cache:6379"}, []),
        ({"smpp_tls": False}, ["KITH_SMPP_TLS"]),
    ],
)
def test_production_warns_of_what_is_sent_in_the_clear(
    settings: dict[str, object], warned: list[str]
) -> None:
    """To the database, Valkey and the SMSC; not where it never leaves the machine, nor in development."""
    given = Settings(**(PRODUCTION | settings))  # type: ignore[arg-type]
    assert [warning.split()[0] for warning in given.warnings()] == warned
    assert Settings(database_url="postgresql://u@db/kith").warnings() == []
