"""The digest over a group's devices is the one that docs/messaging.md defines."""

from uuid import UUID

from messaging.mailbox.recipients import devices_digest

FIRST = UUID("00112233-4455-4677-8899-aabbccddeeff")
SECOND = UUID("ffeeddcc-bbaa-4988-b766-554433221100")


def test_the_vector_of_the_documentation() -> None:
    """Devices count in ascending order, however they are given, and one without keys counts with 0."""
    expected = "ee82eee003d01f0770a63f84a35be04bb6b886f27a52391a80217dca1c6b295d"
    assert devices_digest({FIRST: None, SECOND: 0x12345678}).hex() == expected
    assert devices_digest({SECOND: 0x12345678, FIRST: None}).hex() == expected


def test_any_change_is_another_digest() -> None:
    """A device more or less, or other keys of one, cannot go unnoticed."""
    digests = {
        devices_digest(devices)
        for devices in ({}, {FIRST: None}, {FIRST: 1}, {SECOND: None}, {FIRST: None, SECOND: None})
    }
    assert len(digests) == 5
