"""A socket says that the account's registration lock is to be removed, when it opens and when it happens."""

from tests.api.stream.conftest import Open
from tests.conftest import Person
from tests.contract.openapi import ContractClient

PATH = "/v1/account/registration-lock"
KIND = "registration_lock_removal"


def test_the_removal_of_the_lock(
    client: ContractClient, open_ready: Open, open_socket: Open, alice: Person
) -> None:
    """At once, again when the device connects anew, and that the lock stays; after that nothing."""
    assert client.put(PATH, json={"pin": "471130"}, headers=alice.headers).status_code == 204
    socket = open_ready(alice)
    ends_at = client.delete(PATH, headers=alice.headers).json["registration_lock_ends_at"]
    told = socket.expect(KIND)
    assert str(told["ends_at"]).replace("+00:00", "Z").replace(" ", "T") == ends_at

    newer = open_socket(alice)
    newer.expect("ready")
    assert newer.expect(KIND) == told
    assert newer.receive()["type"] == "caught_up"
    client.post(f"{PATH}/keep", headers=alice.headers)
    assert newer.expect(KIND) == {"ends_at": None}
    assert open_ready(alice) is not None
