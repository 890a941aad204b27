"""The files that others deploy from name what there is: settings, files, and a user without rights."""

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = {f"KITH_{name.upper()}" for name in Settings.model_fields}
#: Of the database's password in compose.yaml, which is part of an address for Kith.
OF_COMPOSE = {"KITH_DATABASE_PASSWORD"}
FILES = ["Containerfile", "compose.yaml", "deploy/kith.service"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services of compose.yaml."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return services


@pytest.mark.parametrize("file", FILES)
def test_variables_are_settings(file: str) -> None:
    """A setting that is renamed is renamed here."""
    named = set(re.findall(r"\bKITH_[A-Z_]+\b", (ROOT / file).read_text()))
    assert named
    assert named - SETTINGS <= OF_COMPOSE


def test_the_container_has_all_parts_and_no_rights() -> None:
    """Each package of the server is copied, nothing runs as root, and its health is asked for."""
    text = (ROOT / "Containerfile").read_text()
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE))
    names = {name for line in copied for name in line.split()}
    assert all((ROOT / name).exists() for name in names)
    layers = re.search(r"layers = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    assert layers
    packages = set(re.findall(r"\b[a-z]+\b", layers[1]))
    files = {path.name for path in ROOT.glob("*.py")}
    assert packages | files | {"migrations", "alembic.ini", "pyproject.toml"} <= names
    assert re.search(r"^USER kith$", text, re.MULTILINE)
    assert "/readyz" in text


def test_each_service_is_healthy_before_the_next(compose: dict[str, Any]) -> None:
    """Kith waits for PostgreSQL and Valkey, whose health is asked for; it writes to its volume alone."""
    kith = compose["kith"]
    for name, condition in kith["depends_on"].items():
        assert condition == {"condition": "service_healthy"}
        assert "healthcheck" in compose[name]
    assert kith["read_only"] is True
    assert kith["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in kith["ports"])


def test_the_settings_of_compose_can_be_used(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What compose.yaml sets is accepted as a whole."""
    for name, value in compose["kith"]["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{[^}]*\}", "x" * 40, str(value)))
    monkeypatch.setenv("KITH_DATA_DIR", str(tmp_path))
    assert Settings.load().workers == 2


def test_the_unit_is_hardened() -> None:
    """The unit can be read, runs as nobody, and may write to its state alone."""
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read(ROOT / "deploy" / "kith.service")
    service = unit["Service"]
    for name in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices"):
        assert service[name] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert not service["CapabilityBoundingSet"]
