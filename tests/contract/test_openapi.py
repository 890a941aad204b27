"""The OpenAPI document is valid, and whatever schemathesis makes of it is answered as it says."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import hypothesis
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


class Newcomers:
    """People who register past the texts, each with something waiting for her."""

    def __init__(self, kith: Kith) -> None:
        self._kith = kith
        self._count = 0

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
        """Register someone who has a message, so that her long poll ends at once."""
        sender, _ = self._join()
        recipient, token = self._join()
        envelope = OutgoingEnvelope(device_id=recipient.device_id, content="aGVsbG8")
        message = OutgoingMessage(to=recipient.account_id, client_id="1", envelopes=[envelope])
        self._kith.messages.send(sender, message)
        return token

    def ids(self) -> dict[str, str]:
        """Give an id of each kind that there is something behind."""
        self._count += 1
        body = StartVerification(phone_number=f"+491511{self._count:07d}")
        started = json.loads(self._kith.verifications.start(body, "192.0.2.1", None).body)
        someone, _ = self._join()
        return {
            "verification_id": started["id"],
            "account_id": str(someone.account_id),
            "device_id": str(someone.device_id),
        }


@pytest.fixture
def newcomers(app: OpenAPI) -> Iterator[Newcomers]:
    """People for one operation."""
    return Newcomers(app.extensions["kith"])


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
    headers = {"Authorization": f"Bearer {newcomers.token()}"}
    answer = case.call_and_validate(app=app, headers=headers, checks=CHECKS)
    assert answer.headers["x-request-id"]
    known = {name: value for name, value in newcomers.ids().items() if name in case.path_parameters}
    if known:
        # The same request about something that exists gets further.
        case.path_parameters = {**case.path_parameters, **known}
        case.call_and_validate(app=app, headers=headers, checks=CHECKS)
