"""Ranges of numbers that the default policy does not send to."""

import pytest
from flask_openapi3 import OpenAPI

from tests.camara import OWN, Service, error
from tests.conftest import problem_code
from tests.contract.openapi import ContractClient


@pytest.mark.parametrize(
    ("number", "because"),
    [
        ("+377 44 123 456", "Kosovo's mobile numbers begin with +383 44 now."),
        ("+386 43 123 456", "Kosovo's mobile numbers begin with +383 43 now."),
        ("+870 773 111 632", "It belongs to a satellite phone (Inmarsat)."),
        ("+881 612 345 678", "It belongs to a satellite phone."),
        ("+882 342 1234", "It belongs to an international network, not to a country."),
        ("+883 510 012 345", "It belongs to an international network, not to a country."),
    ],
)
def test_ranges_of_the_default_policy(
    app: OpenAPI, client: ContractClient, number: str, because: str
) -> None:
    """Dead and dear numbers are refused with their reason, with every protocol, and nothing is sent."""
    answer = client.post("/v1/verifications", json={"phone_number": number})
    assert (problem_code(answer), answer.status_code) == ("destination-refused", 403)
    assert answer.json["detail"] == (
        f"This service does not send to numbers that begin like this one. {because}"
    )
    service = Service(app)
    refused = service.send(number=number)
    assert error(refused) == (403, f"{OWN}PHONE_NUMBER_BLOCKED")
    assert because in refused.json["message"]
    assert client.get("/dev/outbox.json").json == {"messages": []}
