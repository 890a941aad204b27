"""The digest over a group's devices is the one that docs/messaging.md defines."""

import json
from pathlib import Path
from uuid import UUID

from messaging.mailbox.recipients import devices_digest

VECTOR = Path(__file__).parents[2] / "docs" / "vectors" / "group_devices.json"
FIRST = UUID("00112233-4455-4677-8899-aabbccddeeff")
SECOND = UUID("ffeeddcc-bbaa-4988-b766-554433221100")


def test_the_vector_of_the_documentation() -> None:
    """Devices count in ascending order, however they are given, and one without keys counts with 0."""
    vector = json.loads(VECTOR.read_text())
    devices = {UUID(one["device_id"]): one["registration_id"] for one in vector["devices"]}
    assert devices == {FIRST: None, SECOND: 0x12345678}
    assert devices_digest(devices).hex() == vector["digest"]
    assert devices_digest({SECOND: 0x12345678, FIRST: None}).hex() == vector["digest"]


def test_any_change_is_another_digest() -> None:
    """A device more or less, or other keys of one, cannot go unnoticed."""
    digests = {
        devices_digest(devices)
        for devices in ({}, {FIRST: None}, {FIRST: 1}, {SECOND: None}, {FIRST: None, SECOND: None})
    }
    assert len(digests) == 5
