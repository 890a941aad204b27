"""The OpenAPI document is valid, and whatever schemathesis makes of it is answered as it says."""

from collections.abc import Callable
from itertools import count
from typing import Any

import hypothesis
import jsonschema_rs
import pytest
import schemathesis
from flask_openapi3 import OpenAPI
from hypothesis import HealthCheck
from hypothesis import strategies as st
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

from app import create_app
from discovery.schemas import HASHES_TYPE
from interop.matrix.errors import PREFIX as MATRIX
from settings import Settings
from tests.camara import PREFIX, Service
from tests.conftest import MakeApp, Person
from tests.contract.openapi import ContractClient
from tests.matrix import Homeserver, MatrixClient, make_matrix_app

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
        database_url="postgresql+psycopg://never-asked",
        secret_key=SecretStr("k" * 32),
        matrix_enabled=True,
    )
    document: dict[str, Any] = create_app(settings).api_doc
    return document


DOCUMENT = _document()
# The one body that is not JSON: whatever bytes, a few of them by chance whole hashes.
schemathesis.openapi.media_type(
    HASHES_TYPE, st.one_of(st.binary(max_size=100), st.binary(min_size=32, max_size=32))
)
OPERATIONS = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]
schema = schemathesis.openapi.from_dict(DOCUMENT)
# A body that breaks the schema by its size is refused for its size.
rejection = schema.config.checks.negative_data_rejection
rejection.expected_statuses = [*rejection.expected_statuses, "413"]


@pytest.fixture
def app(make_app: MakeApp, homeserver: Homeserver) -> OpenAPI:
    """The application with every adapter enabled."""
    return make_matrix_app(make_app)


class Newcomers:
    """People who register as an operation needs them, each with a message waiting for her."""

    def __init__(
        self,
        app: OpenAPI,
        client: ContractClient,
        register: Callable[..., Person],
        homeserver: Homeserver,
    ) -> None:
        self._app = app
        self._client = client
        self._register = register
        self._homeserver = homeserver
        self._user: MatrixClient | None = None
        self._numbers = (f"+491511{n:07d}" for n in count())
        self._person: Person | None = None

    def person(self) -> Person:
        """Give someone whose token works; her long poll ends at once."""
        if (
            self._person is None
            or self._client.get("/v1/account", headers=self._person.headers).status_code != 200
        ):
            sender, self._person = self._newcomer(), self._newcomer()
            message = {
                "to": self._person.account_id,
                "client_id": "1",
                "envelopes": [{"device_id": self._person.device_id, "content": "aGVsbG8"}],
            }
            sent = self._client.post("/v1/messages", json=message, headers=sender.headers)
            assert sent.status_code == 202, sent.text
        return self._person

    def user(self) -> MatrixClient:
        """Give a Matrix user whose token works."""
        if self._user is None or self._user.get("/account").status_code != 200:
            self._user = MatrixClient.register(self._app, self._homeserver)
        return self._user

    def _newcomer(self) -> Person:
        return self._register(next(self._numbers))

    def existing(self, parameter: str) -> str:
        """Give a value for a path parameter that there is something behind."""
        if parameter == "account_id":
            return self.person().account_id
        if parameter == "device_id":
            return self.person().device_id
        body = {"phone_number": next(self._numbers)}
        return str(self._client.post("/v1/verifications", json=body).json["id"])


@pytest.fixture
def newcomers(
    app: OpenAPI,
    client: ContractClient,
    register: Callable[..., Person],
    homeserver: Homeserver,
) -> Newcomers:
    """People for one operation."""
    return Newcomers(app, client, register, homeserver)


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
    match case.operation.definition.raw.get("security"):
        case [{"device_token": _}]:
            headers = newcomers.person().headers
        case [{"service_token": _}]:
            headers = {"Authorization": f"Bearer {Service(app).token}"}
        case [{"matrix_token": _}]:
            headers = {"Authorization": f"Bearer {newcomers.user().token}"}
        case _:
            headers = {}
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
        # 101 is how a handshake ends well.
        assert any(status[0] == "2" or status == "101" for status in operation["responses"])


def test_every_media_type_of_an_answer_is_documented_once() -> None:
    """Refusals are problem documents everywhere but at another protocol's matrix_app, and nothing else is."""
    for path, item in DOCUMENT["paths"].items():
        other = path.startswith((PREFIX, MATRIX))
        refused = "application/json" if other else "application/problem+json"
        for operation in item.values():
            for status, answer in operation["responses"].items():
                types = set(answer.get("content", {}))
                if status[0] in "45":
                    assert types == {refused}
                else:
                    assert "application/problem+json" not in types
