"""Keys under parallel takers and uploads, on real connections of both databases."""


import pytest

from messaging.key_schemas import KeysUpload
from tests.concurrency.test_mailbox import add_devices, kith

__all__ = ["add_devices", "kith"]


@pytest.fixture
def publish(kith):
    """Upload keys of a device."""

    def publish(device, body):
        kith.keys.upload(device, KeysUpload.model_validate_json(_json(body)))

    return publish
