"""Who uses the Matrix adapter: registration by OpenID token, access tokens, terms, keys, and CORS."""

from pathlib import Path

import pytest
from flask_openapi3 import OpenAPI

from interop.matrix.accounts import MAX_TOKENS
from interop.matrix.errors import CORS, PREFIX
from tests.conftest import Clock, MakeApp
from tests.matrix import V2, Homeserver, MatrixClient, fault, make_matrix_app

TERMS = """
[policies.terms_of_service]
version = "2.0"
languages.en = { name = "Terms of Service", url = "https://example.org/terms-2.0-en.html" }
languages.fr = { name = "Conditions d'utilisation", url = "https://example.org/terms-2.0-fr.html" }

[policies.privacy_policy]
version = "1.2"
languages.en = { name = "Privacy Policy", url = "https://example.org/privacy-1.2-en.html" }
"""


def test_versions_and_ping_need_no_token(matrix_app: OpenAPI) -> None:
    """Clients learn that there is an identity service, and which versions of the API it has."""
    client = matrix_app.test_client()
    versions = client.get(f"{PREFIX}/versions")
    assert {"r0.3.0", "v1.1"} <= set(versions.json["versions"])
    assert client.get(V2).json == {}


def test_an_openid_token_is_exchanged(alice: MatrixClient, homeserver: Homeserver) -> None:
    """The homeserver is asked once, with the token, and the access token is good from then on."""
    (asked,) = homeserver.received
    assert asked.method == "GET"
    assert asked.path.endswith("?access_token=openid-alice-hs.example")
    assert asked.headers["Host"] == homeserver.name()
    assert alice.get("/account").json == {"user_id": alice.user_id}
    assert alice.token.startswith("kithmx_")


def test_the_token_is_answered_under_both_names(
    matrix_app: OpenAPI, homeserver: Homeserver
) -> None:
    """Older clients read `access_token`."""
    answer = matrix_app.test_client().post(
        f"{V2}/account/register", json=homeserver.openid("carol")
    )
    assert answer.json["token"] == answer.json["access_token"]


def test_a_token_may_be_in_the_query(alice: MatrixClient) -> None:
    """As the specification allows for clients that cannot set the header."""
    answer = alice.call("GET", "/account", headers={}, query_string={"access_token": alice.token})
    assert answer.json == {"user_id": alice.user_id}


@pytest.mark.parametrize(
    "authorization", [None, "Bearer", "Bearer kithmx_", "Bearer kith_" + "A" * 91, "Basic YTpi"]
)
def test_without_a_token_nothing_is_done(matrix_app: OpenAPI, authorization: str | None) -> None:
    """Whatever is no access token of this adapter is `M_UNAUTHORIZED`."""
    headers = {"Authorization": authorization} if authorization else {}
    for method, path in (("GET", "/account"), ("GET", "/hash_details"), ("POST", "/lookup")):
        answer = matrix_app.test_client().open(
            f"{V2}{path}", method=method, json={}, headers=headers
        )
        assert fault(answer) == (401, "M_UNAUTHORIZED")


def test_logging_out_ends_one_token(
    alice: MatrixClient, matrix_app: OpenAPI, homeserver: Homeserver
) -> None:
    """Another token of the same user stays good; the same logout again finds no token."""
    other = MatrixClient.register(matrix_app, homeserver)
    assert (alice.call("POST", "/account/logout").json) == {}
    assert fault(alice.get("/account")) == (401, "M_UNAUTHORIZED")
    assert fault(alice.call("POST", "/account/logout")) == (401, "M_UNKNOWN_TOKEN")
    assert other.get("/account").status_code == 200


def test_tokens_are_few(
    alice: MatrixClient, matrix_app: OpenAPI, homeserver: Homeserver, clock: Clock
) -> None:
    """Of more than a user may have, the oldest goes."""
    second = None
    for _ in range(MAX_TOKENS):
        clock.advance(120)
        second = second or MatrixClient.register(matrix_app, homeserver)
        newest = MatrixClient.register(matrix_app, homeserver) if second else second
    assert fault(alice.get("/account")) == (401, "M_UNAUTHORIZED")
    assert newest.get("/account").status_code == 200


def test_a_token_that_is_not_used_ends(
    alice: MatrixClient, clock: Clock, matrix_app: OpenAPI
) -> None:
    """Each use counts for 90 days; then it is worth nothing, and is deleted."""
    clock.advance(days=80)
    assert alice.get("/account").status_code == 200
    clock.advance(days=80)
    assert alice.get("/account").status_code == 200
    clock.advance(days=91)
    assert fault(alice.get("/account")) == (401, "M_UNAUTHORIZED")
    deleted = matrix_app.extensions["kith"].maintenance.run()
    assert (deleted["matrix tokens"], deleted["matrix users"]) == (1, 0)
    clock.advance(days=90)
    assert matrix_app.extensions["kith"].maintenance.run()["matrix users"] == 1


def test_a_network_registers_so_often(make_app: MakeApp, homeserver: Homeserver) -> None:
    """Past 60 the homeserver is not even asked, until the hour has given some back."""
    app = make_matrix_app(make_app)
    client = app.test_client()
    body = {"access_token": "t", "matrix_server_name": "-"}
    for _ in range(60):
        assert fault(client.post(f"{V2}/account/register", json=body))[0] == 400
    answer = client.post(f"{V2}/account/register", json=homeserver.openid("alice"))
    assert fault(answer) == (429, "M_LIMIT_EXCEEDED")
    assert answer.json["retry_after_ms"] == 60_000
    assert answer.headers["Retry-After"] == "60"
    assert homeserver.received == []


@pytest.fixture
def terms(tmp_path: Path) -> Path:
    """The operator's terms."""
    path = tmp_path / "terms.toml"
    path.write_text(TERMS)
    return path


def test_without_terms_there_is_nothing_to_accept(alice: MatrixClient) -> None:
    """No policy is offered, and none is asked for."""
    assert alice.get("/terms").json == {"policies": {}}


def test_terms_are_accepted_policy_by_policy(
    make_app: MakeApp, homeserver: Homeserver, terms: Path
) -> None:
    """Until each policy was accepted, in any language, all but terms and logout is refused."""
    app = make_matrix_app(make_app, matrix_terms_file=terms)
    user = MatrixClient.register(app, homeserver)
    offered = app.test_client().get(f"{V2}/terms").json["policies"]
    assert offered["privacy_policy"] == {
        "version": "1.2",
        "en": {"name": "Privacy Policy", "url": "https://example.org/privacy-1.2-en.html"},
    }
    assert set(offered["terms_of_service"]) == {"version", "en", "fr"}
    accept = {"user_accepts": [offered["terms_of_service"]["fr"]["url"], "https://else.example/"]}
    assert fault(user.get("/account")) == (403, "M_TERMS_NOT_SIGNED")
    assert fault(user.get("/hash_details")) == (403, "M_TERMS_NOT_SIGNED")
    assert fault(user.request_token()) == (403, "M_TERMS_NOT_SIGNED")
    assert user.post("/terms", accept).json == {}
    assert fault(user.get("/account")) == (403, "M_TERMS_NOT_SIGNED")
    user.post("/terms", {"user_accepts": [offered["privacy_policy"]["en"]["url"]]})
    assert user.get("/account").status_code == 200
    assert MatrixClient.register(app, homeserver).get("/account").status_code == 200


def test_new_terms_are_to_be_accepted_anew(
    make_app: MakeApp, homeserver: Homeserver, terms: Path
) -> None:
    """Once the operator offers a new version, the old one's acceptance is worth nothing; leaving is free."""
    user = MatrixClient.register(make_matrix_app(make_app, matrix_terms_file=terms), homeserver)
    policies = user.get("/terms").json["policies"]  # type: ignore[index]
    urls = [policy["en"]["url"] for policy in policies.values()]
    user.post("/terms", {"user_accepts": urls})
    assert user.get("/account").status_code == 200
    terms.write_text(TERMS.replace("2.0", "3.0"))
    user.app = make_matrix_app(make_app, matrix_terms_file=terms)
    assert fault(user.get("/account")) == (403, "M_TERMS_NOT_SIGNED")
    assert user.call("POST", "/account/logout").json == {}


def test_parameters_that_are_missing_or_wrong_are_told_apart(
    alice: MatrixClient, matrix_app: OpenAPI
) -> None:
    """A field that did not come, one that cannot be, and what is no JSON have codes of their own."""
    assert fault(alice.post("/terms")) == (400, "M_MISSING_PARAMS")
    assert fault(alice.post("/terms", {"user_accepts": "x"})) == (400, "M_INVALID_PARAM")
    assert fault(alice.call("POST", "/terms", data=b"{")) == (400, "M_NOT_JSON")
    assert fault(alice.get("/3pid/getValidated3pid")) == (400, "M_MISSING_PARAMS")
    too_much = b"[" + b" " * 2_000_000
    assert fault(alice.call("POST", "/terms", data=too_much)) == (413, "M_TOO_LARGE")
    register = matrix_app.test_client().post(f"{V2}/account/register", json={"access_token": "t"})
    assert fault(register) == (400, "M_MISSING_PARAMS")


def test_a_body_needs_no_content_type(alice: MatrixClient) -> None:
    """The specification says that it should have one, and need not."""
    assert alice.call("POST", "/terms", data=b'{"user_accepts": []}').json == {}


def test_unknown_paths_and_methods_are_unrecognized(matrix_app: OpenAPI) -> None:
    """Under the adapter's prefix every refusal is in its format, and elsewhere none is."""
    client = matrix_app.test_client()
    assert fault(client.get(f"{PREFIX}/v2/nothing")) == (404, "M_UNRECOGNIZED")
    assert fault(client.get(f"{PREFIX}/api/v1/lookup")) == (404, "M_UNRECOGNIZED")
    assert fault(client.post(f"{V2}/sign-ed25519", json={})) == (404, "M_UNRECOGNIZED")
    assert fault(client.delete(f"{V2}/terms")) == (405, "M_UNRECOGNIZED")
    assert client.get("/_matrix/client").content_type == "application/problem+json"


@pytest.mark.parametrize("path", ["/v2/account/register", "/v2/lookup", "/versions", "/v2/nothing"])
def test_a_browser_may_ask_first(matrix_app: OpenAPI, path: str) -> None:
    """A preflight request is answered on every path, without a token."""
    answer = matrix_app.test_client().options(
        f"{PREFIX}{path}",
        headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"},
    )
    assert answer.status_code == 204
    assert dict(answer.headers).items() >= CORS.items()
    elsewhere = matrix_app.test_client().options("/v1/account")
    assert "Access-Control-Allow-Origin" not in elsewhere.headers


def test_keys_can_be_checked(matrix_app: OpenAPI) -> None:
    """The key that signs is found by its name and is valid in both alphabets; no other is."""
    signer = matrix_app.extensions["kith"].matrix.signer
    client = matrix_app.test_client()
    key = client.get(f"{V2}/pubkey/{signer.key_id}").json["public_key"]
    for spelling in (key, key.replace("+", "-").replace("/", "_")):
        query = {"public_key": spelling}
        assert client.get(f"{V2}/pubkey/isvalid", query_string=query).json == {"valid": True}
        ephemeral = client.get(f"{V2}/pubkey/ephemeral/isvalid", query_string=query)
        assert ephemeral.json == {"valid": False}
    for wrong in ("A" * 43, "", "ä", "A"):
        answer = client.get(f"{V2}/pubkey/isvalid", query_string={"public_key": wrong})
        assert answer.json == {"valid": False}
    assert fault(client.get(f"{V2}/pubkey/ed25519:0")) == (404, "M_NOT_FOUND")


def test_the_door_is_closed_by_default(app: OpenAPI) -> None:
    """Nobody makes this host ask other hosts unless its operator wants that."""
    assert app.test_client().get(f"{PREFIX}/versions").status_code == 404
