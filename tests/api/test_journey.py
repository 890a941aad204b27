"""The whole journey through HTTP, as the README tells it."""

from collections.abc import Callable

from tests.conftest import NUMBER, Person
from tests.contract.openapi import ContractClient


def test_a_number_becomes_an_account(
    client: ContractClient, register: Callable[..., Person]
) -> None:
    """Start, read the code, check, register, and the token works."""
    person = register(NUMBER, device={"name": "Pixel", "platform": "android"})
    account = client.get("/v1/account", headers=person.headers).json
    assert account["phone_number"] == NUMBER
    assert account["account_id"] == person.account_id
    assert account["device_id"] == person.device_id
    assert account["discoverable"] is True
    assert account["registration_lock"] is False
