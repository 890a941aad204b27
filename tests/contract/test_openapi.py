"""The OpenAPI document is valid, and whatever schemathesis makes of it is answered as it says."""

import json
from collections import Counter
from itertools import count
from typing import Any
from uuid import UUID

import hypothesis
import jsonschema_rs
import pytest
import schemathesis
from flask_openapi3 import OpenAPI
from hypothesis import HealthCheck
from schemathesis.config import GenerationConfig
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tokens.schemas import DeviceDescription

#: What each answer is held against, beside never being a 500.
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    allow_header_conformance,
    ignored_auth,
]

api = schemathesis.pytest.from_fixture("schema")


@pytest.fixture
def schema(app: OpenAPI) -> Any:
    """The document as schemathesis reads it from the application."""
    loaded = schemathesis.openapi.from_wsgi("/v1/openapi.json", app)
    return loaded


@pytest.fixture
def new_token(app: OpenAPI) -> Any:
    """Mint tokens of people who just registered, past the texts."""
    kith = app.extensions["kith"]
    numbers = count()

    def mint() -> str:
        with kith.database.write() as session:
            claim = kith.accounts.claim(session, f"+491511{next(numbers):07d}", None)
            device = UUID(bytes=kith.accounts._entropy(16), version=4)
            joined = kith.devices.add(
                session, claim.account_id, device, DeviceDescription(), kith.accounts._entropy(32)
            )
        return str(joined.device_token)

    return mint


@api.parametrize()
@hypothesis.settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_documented(case: schemathesis.Case, new_token: Any) -> None:
    """No generated request gets a 500, or an answer that the document does not promise."""
    case.call_and_validate(headers={"Authorization": f"Bearer {new_token()}"}, checks=CHECKS)
