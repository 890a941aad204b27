"""Each route asks for a device's or a service's token, or is on the list of those open to all."""

import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from flask_openapi3 import OpenAPI

from core.api import Api
from interop.matrix.authenticate import MatrixAuthentication
from interop.matrix.errors import PREFIX
from messaging.stream.routes import SocketAuthenticator
from sms.webhook.routes import SenderAuthentication
from tests.conftest import MakeApp, problem_code
from tokens.authenticate import Authenticator
from tokens.service_tokens import SCOPES

#: What is open to all, and what guards it instead.
PUBLIC = {
    # Health, metrics and the description of the API: nothing in them is anyone's.
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
    "GET /docs",
    "GET /docs/assets/<path:filename>",
    "GET /v1/openapi.json",
    # Whoever proves a number has no token yet: limits by number and requester, and unguessable ids.
    "POST /v1/verifications",
    "GET /v1/verifications/<verification_id>",
    "DELETE /v1/verifications/<verification_id>",
    "POST /v1/verifications/<verification_id>/sends",
    "POST /v1/verifications/<verification_id>/checks",
    # A verified, unused verification is the credential.
    "POST /v1/registrations",
    # A link code of 256 bits is the credential.
    "POST /v1/device-links/redeem",
    # The provider's signature is the credential.
    "POST /v1/callbacks/twilio/<reference>",
    # What a Matrix client needs before it has a token, and whose homeserver is asked for one.
    "GET /_matrix/identity/versions",
    "GET /_matrix/identity/v2",
    "GET /_matrix/identity/v2/terms",
    "POST /_matrix/identity/v2/account/register",
    "GET /_matrix/identity/v2/pubkey/<key_id>",
    "GET /_matrix/identity/v2/pubkey/isvalid",
    "GET /_matrix/identity/v2/pubkey/ephemeral/isvalid",
    # The mock provider's texts: development only, see below.
    "GET /dev/outbox",
    "GET /dev/outbox.json",
}
#: What services use, by the scope that their token must have.
SERVICES = {
    "POST /one-time-password-sms/v1/send-code": "one-time-password-sms:send-validate",
    "POST /one-time-password-sms/v1/validate-code": "one-time-password-sms:send-validate",
}
#: What devices use, and services whose token has the scope.
BOTH = {
    "GET /v1/discovery/parameters": "discovery",
    "POST /v1/discovery/lookups": "discovery",
}
#: What asks for another credential than a device token, by who asks.
OTHERWISE = {
    "GET /v1/stream": SocketAuthenticator.device,
    "POST /v1/callbacks/webhook": SenderAuthentication.sender,
    "POST /_matrix/identity/v2/terms": MatrixAuthentication.user_before_terms,
    "POST /_matrix/identity/v2/account/logout": MatrixAuthentication.user_logging_out,
    "GET /_matrix/identity/v2/account": MatrixAuthentication.user,
    "POST /_matrix/identity/v2/validate/msisdn/requestToken": MatrixAuthentication.user,
    "POST /_matrix/identity/v2/validate/msisdn/submitToken": MatrixAuthentication.user,
    "GET /_matrix/identity/v2/validate/msisdn/submitToken": MatrixAuthentication.user,
    "GET /_matrix/identity/v2/3pid/getValidated3pid": MatrixAuthentication.user,
    "POST /_matrix/identity/v2/3pid/bind": MatrixAuthentication.user,
    "POST /_matrix/identity/v2/store-invite": MatrixAuthentication.user,
    "POST /_matrix/identity/v2/3pid/unbind": MatrixAuthentication.user_or_homeserver,
    "GET /_matrix/identity/v2/hash_details": MatrixAuthentication.user,
    "POST /_matrix/identity/v2/lookup": MatrixAuthentication.user,
}
DEVELOPMENT_ONLY = {"GET /dev/outbox", "GET /dev/outbox.json"}


@pytest.fixture
def app(make_app: MakeApp) -> OpenAPI:
    """The application with every adapter enabled."""
    return make_app(matrix_enabled=True)


def _operations(app: OpenAPI) -> dict[str, str]:
    """Give the endpoint of each operation; HEAD and OPTIONS come with the others."""
    return {
        f"{method} {rule.rule}": rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_each_route_is_authenticated_or_listed(app: OpenAPI) -> None:
    """A route outside the lists belongs to a blueprint that authenticates the device."""
    for operation, endpoint in _operations(app).items():
        blueprint = app.blueprints[endpoint.rpartition(".")[0]]
        authenticate = blueprint.authenticate if isinstance(blueprint, Api) else None
        if scope := (SERVICES | BOTH).get(operation):
            either = operation in BOTH
            expected = Authenticator.device_or_service if either else Authenticator.service
            assert isinstance(authenticate, partial), operation
            assert getattr(authenticate.func, "__func__", None) is expected, operation
            assert authenticate.args == (scope,), operation
            assert not authenticate.keywords, operation
        else:
            expected = OTHERWISE.get(operation, Authenticator.device)
            expected = None if operation in PUBLIC else expected
            assert getattr(authenticate, "__func__", authenticate) is expected, operation


def test_the_lists_name_no_route_that_is_gone(app: OpenAPI) -> None:
    """Each route on a list exists, so that a new one of that name is not public by accident."""
    assert set(_operations(app)) >= PUBLIC | SERVICES.keys() | BOTH.keys() | OTHERWISE.keys()
    assert {*SERVICES.values(), *BOTH.values()} == SCOPES.keys()


def test_without_a_token_nothing_is_done(app: OpenAPI) -> None:
    """Each device's route answers a request without a token, or with a forged one, with 401."""
    client = app.test_client()
    guarded = sorted(set(_operations(app)) - PUBLIC - SERVICES.keys() - OTHERWISE.keys())
    guarded.append("GET /v1/stream")
    assert guarded
    for operation in guarded:
        method, rule = operation.split(" ")
        path = re.sub(r"<[^>]+>", "7d9f3c1e-0000-4000-8000-000000000000", rule)
        missing = client.open(path, method=method, json={})
        assert (missing.status_code, problem_code(missing)) == (401, "token-missing"), operation
        forged = client.open(
            path, method=method, json={}, headers={"Authorization": "Bearer kith_" + "A" * 91}
        )
        assert (forged.status_code, problem_code(forged)) == (401, "token-invalid"), operation
        assert missing.headers["WWW-Authenticate"] == 'Bearer realm="kith"'


def test_without_a_service_token_nothing_is_done(app: OpenAPI) -> None:
    """Each service's route answers one without a token, or with a forged one or a device's, with 401."""
    client = app.test_client()
    for operation in SERVICES:
        method, path = operation.split(" ")
        for headers in (
            {},
            {"Authorization": "Bearer kithsvc_" + "A" * 70},
            {"Authorization": "Bearer kith_" + "A" * 91},
        ):
            answer = client.open(path, method=method, json={}, headers=headers)
            assert answer.status_code == 401, operation
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="kith"'


def test_without_a_matrix_token_nothing_is_done(app: OpenAPI) -> None:
    """Each route behind the Matrix adapter answers one without a token, or with a forged one, with 401."""
    client = app.test_client()
    for operation in OTHERWISE:
        method, path = operation.split(" ")
        if not path.startswith(PREFIX):
            continue
        for token in ("kithmx_" + "A" * 70, "kith_" + "A" * 91, "kithsvc_" + "A" * 70, None):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = client.open(path, method=method, json={}, headers=headers)
            assert answer.status_code == 401, operation


def test_with_another_services_token_nothing_is_done(app: OpenAPI) -> None:
    """What services share with devices refuses a forged token of a service, and one without the scope."""
    client = app.test_client()
    services = app.extensions["kith"].tokens.service_tokens
    token, _ = services.issue("shop", set(SERVICES.values()), timedelta(days=1))
    for operation in BOTH:
        method, path = operation.split(" ")
        for given, refusal in (
            ("kithsvc_" + "A" * 70, (401, "service-token-invalid")),
            (token, (403, "scope-missing")),
        ):
            headers = {"Authorization": f"Bearer {given}"}
            answer = client.open(path, method=method, json={}, headers=headers)
            assert (answer.status_code, problem_code(answer)) == refusal, operation


def _scheme(operation: str) -> str:
    """Name how the document says that an operation wants another credential."""
    if OTHERWISE[operation] is SocketAuthenticator.device:
        # The token of a device, which may come as a subprotocol too.
        return "device_token"
    return "matrix_token" if operation.partition(" ")[2].startswith(PREFIX) else "webhook_signature"


def test_the_document_says_who_needs_a_token(app: OpenAPI) -> None:
    """The OpenAPI document asks for a device's or a service's token exactly where the service does."""
    for path, item in app.api_doc["paths"].items():
        for method, operation in item.items():
            name = f"{method.upper()} {path.replace('{', '<').replace('}', '>')}"
            expected: list[dict[str, Any]] = [{"device_token": []}]
            if name in PUBLIC:
                expected = []
            elif name in SERVICES:
                expected = [{"service_token": [SERVICES[name]]}]
            elif name in BOTH:
                expected += [{"service_token": [BOTH[name]]}]
            elif name in OTHERWISE:
                expected = [{_scheme(name): []}]
                if OTHERWISE[name] is MatrixAuthentication.user_or_homeserver:
                    expected += [{"matrix_signature": []}]
            assert operation.get("security", []) == expected, name


def test_production_shows_no_codes(make_app: MakeApp) -> None:
    """With a real provider there is no outbox to read."""
    app = make_app(
        environment="production",
        secret_key="k" * 32,
        sms_provider="twilio",
        twilio_account_sid="AC" + "0" * 32,
        twilio_auth_token="t" * 32,
        twilio_from="+15005550006",
        public_url="https://id.example.com",
    )
    assert set(_operations(app)).isdisjoint(DEVELOPMENT_ONLY)
    assert app.test_client().get("/dev/outbox.json").status_code == 404
