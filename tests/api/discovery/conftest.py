"""People who look each other up, answered from the table and from a snapshot."""

import base64
import hashlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from werkzeug.test import TestResponse

from discovery.snapshot_builder import BuildRequest, build
from tests.conftest import MakeApp, Person
from tests.contract.openapi import ContractClient

ANNA, BEN, CARLA = "+4915112345601", "+4915112345602", "+4915112345603"


def encode(digest: bytes) -> str:
    """Write a digest as the wire does."""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def hash_number(e164: str, salt: str) -> str:
    """Hash a number as the documentation says, with nothing of the server's code."""
    return encode(hashlib.sha256(f"{e164[1:]} msisdn {salt}".encode()).digest())


def made_up(count: int, start: int = 0) -> list[str]:
    """Give hashes of nobody, each another one."""
    numbers = range(start, start + count)
    return [encode(hashlib.sha256(str(number).encode()).digest()) for number in numbers]


@pytest.fixture(params=["table", "snapshot"])
def app(request: pytest.FixtureRequest, make_app: MakeApp) -> OpenAPI:
    """The application, answering from each of what it can answer from; all people come later."""
    app = make_app()
    kith = app.extensions["kith"]
    # In this process, which is what the one of its own does too; tests of the command take that one.
    kith.discovery.directory.build = lambda database, order: build(
        database, order, kith.runtime.clock, os.urandom
    )
    if request.param == "snapshot":
        use_snapshot(app)
    return app


def use_snapshot(app: OpenAPI) -> None:
    """Build a snapshot of the current epoch and let the application answer from it."""
    kith = app.extensions["kith"]
    epoch, _ = kith.discovery.service.parameters()
    order = BuildRequest(str(kith.settings.data_dir / "discovery"), epoch.id, epoch.number)
    order.path.unlink(missing_ok=True)
    build(kith.runtime.database, order, kith.runtime.clock, os.urandom)
    assert kith.discovery.directory.adopt(epoch)


@pytest.fixture
def anna(register: Callable[..., Person]) -> Person:
    """Someone who looks up others."""
    return register(ANNA)


@pytest.fixture
def parameters(client: ContractClient, anna: Person) -> Any:
    """The current parameters, as a client fetches them."""
    return client.get("/v1/discovery/parameters", headers=anna.headers).json


@pytest.fixture
def hashed(parameters: Any) -> Callable[[str], str]:
    """Hash a number in the current epoch."""
    return lambda e164: hash_number(e164, parameters["salt"])


LookUp = Callable[..., TestResponse]


@pytest.fixture
def look_up(client: ContractClient, anna: Person, parameters: Any) -> LookUp:
    """Look up hashes as Anna, or as somebody else by `by`; give the response."""

    def look_up(hashes: Any = (), /, by: Person = anna, **changes: Any) -> TestResponse:
        body = {"epoch": parameters["epoch"], "hashes": list(hashes)} | changes
        return client.post("/v1/discovery/lookups", json=body, headers=by.headers)

    return look_up
