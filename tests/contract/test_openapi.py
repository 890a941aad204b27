"""The OpenAPI document is valid, and whatever schemathesis makes of it is answered as it says."""

import json
from typing import Any
from uuid import UUID

import hypothesis
import jsonschema_rs
import pytest
import schemathesis
from flask_openapi3 import OpenAPI
from hypothesis import HealthCheck
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app import Kith, create_app
from core.settings import Settings
from messaging.schemas import OutgoingEnvelope, OutgoingMessage
from tests.contract.openapi import ContractClient
from tokens.problems import TokenInvalid
from tokens.schemas import DeviceDescription
from tokens.service import Caller
from verification.schemas import StartVerification

#: What each answer is held against. Not among them: positive_data_acceptance (a well-formed request
#: is rightly refused for what it names), unsupported_method (ours knows TRACE as little as any
#: other), ignored_auth (tests/architecture/test_routes.py asks each route), and use_after_free and
#: ensure_resource_availability, which follow links that the document does not have.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    allow_header_conformance,
]


def _document() -> dict[str, Any]:
    """Give the document of the default settings, whatever is in the environment."""
    settings = Settings.model_construct(
        database_url="postgresql+psycopg://never-asked", secret_key=SecretStr("k" * 32)
    )
    document: dict[str, Any] = create_app(settings).api_doc
    return document


DOCUMENT = _document()
OPERATIONS = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]
schema = schemathesis.openapi.from_dict(DOCUMENT)
# A body that breaks the schema by its size is refused for its size.
rejection = schema.config.checks.negative_data_rejection
rejection.expected_statuses = [*rejection.expected_statuses, "413"]


class Newcomers:
    """People who register past the texts, each with something waiting for her."""

    def __init__(self, kith: Kith) -> None:
        self._kith = kith
        self._count = 0
        self._token = ""

    def _join(self) -> tuple[Caller, str]:
        self._count += 1
        secret = self._count.to_bytes(32)
        with self._kith.database.write() as session:
            claim = self._kith.accounts.claim(session, f"+491511{self._count:07d}", None)
            device = UUID(int=self._count, version=4)
            joined = self._kith.devices.add(
                session, claim.account_id, device, DeviceDescription(), secret
            )
        return Caller(joined.account_id, joined.device_id, secret), joined.device_token

    def token(self) -> str:
        """Give the token of someone who has a message, so that her long poll ends at once."""
        try:
            self._kith.devices.authenticate(self._token)
        except TokenInvalid:
            sender, _ = self._join()
            recipient, self._token = self._join()
            envelope = OutgoingEnvelope(device_id=recipient.device_id, content="aGVsbG8")
            message = OutgoingMessage(to=recipient.account_id, client_id="1", envelopes=[envelope])
            self._kith.messages.send(sender, message)
        return self._token

    def existing(self, parameter: str) -> str:
        """Give a value for a path parameter that there is something behind."""
        caller = self._kith.devices.authenticate(self.token())
        if parameter == "account_id":
            return str(caller.account_id)
        if parameter == "device_id":
            return str(caller.device_id)
        self._count += 1
        body = StartVerification(phone_number=f"+491511{self._count:07d}")
        return str(
            json.loads(self._kith.verifications.start(body, "192.0.2.1", None).body)["id"]
        )


@pytest.fixture
def newcomers(app: OpenAPI) -> Newcomers:
    """People for one operation."""
    return Newcomers(app.extensions["kith"])


#: Path parameters that name something in the database.
NAMES = {"verification_id", "account_id", "device_id"}


@schema.parametrize()
@hypothesis.settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_documented(
    case: schemathesis.Case, app: OpenAPI, newcomers: Newcomers
) -> None:
    """No generated request gets a 500, or an answer that the document does not promise."""
    named = NAMES & set(case.path_parameters)
    checks = list(CHECKS)
    if named and len(repr(case)) % 2:
        # Half of the requests are about something that exists, or all would end with a 404.
        case.path_parameters |= {name: newcomers.existing(name) for name in named}
        # What was wrong with the request may have been just that.
        checks.remove(negative_data_rejection)
    headers = {"Authorization": f"Bearer {newcomers.token()}"}
    answer = case.call_and_validate(app=app, headers=headers, checks=checks)
    assert answer.headers["x-request-id"]


def test_the_document_is_valid(client: ContractClient) -> None:
    """It is OpenAPI 3.1 by the specification's own schema, and each schema in it is a schema."""
    document = client.get("/v1/openapi.json").json
    assert document["openapi"].startswith("3.1.")
    schema.validate()
    for shape in document["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator({**shape, "components": document["components"]})


def test_operation_ids_are_unique() -> None:
    """Each operation has a name of its own, of which generated clients make a method."""
    names = [operation["operationId"] for operation in OPERATIONS]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() for name in names)


def test_every_operation_is_described() -> None:
    """Each operation says what it does, belongs to a part, and documents how it can end."""
    for operation in OPERATIONS:
        assert operation["summary"], operation["operationId"]
        assert operation["tags"], operation["operationId"]
        assert any(status.startswith("2") for status in operation["responses"])


def test_every_media_type_of_an_answer_is_documented_once() -> None:
    """Refusals are problem documents everywhere, and nothing else is."""
    for operation in OPERATIONS:
        for status, answer in operation["responses"].items():
            types = set(answer.get("content", {}))
            assert ("application/problem+json" in types) == (status[0] in "45")
