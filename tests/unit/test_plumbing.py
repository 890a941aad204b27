"""What is around every request: ids, faults of ours, methods, health, metrics and the docs page."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask_openapi3 import OpenAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from core import database as core_database
from core.database import Database
from tests.conftest import NUMBER, MakeApp, problem_code
from tests.contract.openapi import ContractClient
from tests.databases import new_postgresql_url
from tokens.token_issuer import TOKEN_PREFIX, Credential


def test_a_request_id_is_made(client: ContractClient) -> None:
    """Each request without an id gets one of its own."""
    ids = {client.get("/livez").headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}", identity) for identity in ids)


@pytest.mark.parametrize("given", ["a" * 8, "Ab-_.0123", "x" * 64])
def test_a_request_id_is_echoed(client: ContractClient, given: str) -> None:
    """A proxy's id is kept, in the header and in the problem."""
    answer = client.get("/v1/account", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] == given
    assert answer.json["instance"] == given


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "a b c d e f", "<script>", "æ" * 8])
def test_a_strange_request_id_is_replaced(client: ContractClient, given: str) -> None:
    """What is too short, too long or not plain is not repeated."""
    answer = client.get(
        "/livez", environ_overrides={"HTTP_X_REQUEST_ID": given.encode().decode("latin-1")}
    )
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_answers_are_not_cached_or_sniffed(client: ContractClient) -> None:
    """No cache keeps an answer, and no browser guesses what it is."""
    for path in ("/livez", "/v1/account", "/nothing"):
        headers = client.get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"


TOKEN = Credential((UUID(int=1), UUID(int=2)), bytes(32)).format(TOKEN_PREFIX)


def broken(size: int) -> bytes:
    """Fail as no code expects, saying what nobody should read."""
    raise RuntimeError(f"secret detail of {NUMBER}")


def test_an_unexpected_fault(make_app: MakeApp) -> None:
    """It is a 500 with the request id and nothing else, and the next request is served."""
    client = make_app(ports={"entropy": broken}).test_client()
    answer = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert answer.status_code == 500
    assert problem_code(answer) == "internal-error"
    assert answer.json["instance"] == answer.headers["X-Request-Id"]
    assert "secret detail" not in answer.text
    assert "RuntimeError" not in answer.text
    assert client.get("/readyz").status_code == 200


@pytest.fixture
def away(dialect: str, make_app: MakeApp, tmp_path: Path) -> OpenAPI:
    """An application whose database cannot be reached."""
    url = (
        f"sqlite:///{tmp_path}"  # a directory
        if dialect == "sqlite"
        else "postgresql+psycopg://kith@127.0.0.1:1/kith"
    )
    return make_app(database_url=url)


def test_without_a_database(away: OpenAPI) -> None:
    """What needs it is unavailable and says when to come back; the process lives."""
    client = away.test_client()
    token = {"Authorization": f"Bearer {TOKEN}"}
    answers = [
        client.post("/v1/verifications", json={"phone_number": NUMBER}),
        client.get("/v1/account", headers=token),
        client.get("/readyz"),
    ]
    for answer in answers:
        assert answer.status_code == 503
        assert problem_code(answer) == "service-unavailable"
        assert int(answer.headers["Retry-After"]) == answer.json["retry_after"] > 0
        assert "127.0.0.1" not in answer.text
    assert client.get("/livez").json == {"status": "ok"}


def test_a_database_that_comes_back(app: OpenAPI, client: ContractClient, dialect: str) -> None:
    """When connections were cut off, the service finds new ones by itself."""
    kith, path = app.extensions["kith"], "/v1/verifications/" + "A" * 43
    assert client.get(path).status_code == 404
    if dialect == "postgresql":
        with kith.runtime.database.engine.connect() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        url = kith.runtime.database.url.render_as_string(hide_password=False)
        with closing(Database(url)) as other, other.write() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    answers = [client.get(path).status_code for _ in range(3)]
    assert set(answers[:1]) <= {404, 503}
    assert answers[1:] == [404, 404]


def test_an_empty_database_is_not_ready(dialect: str, make_app: MakeApp, tmp_path: Path) -> None:
    """Before it is migrated, the service says so and lives."""
    url = (
        f"sqlite:///{tmp_path / 'empty.db'}"
        if dialect == "sqlite"
        else new_postgresql_url("kith_empty")
    )
    client = make_app(database_url=url).test_client()
    answer = client.get("/readyz")
    assert problem_code(answer) == "service-unavailable"
    assert "alembic upgrade head" in answer.json["detail"]
    assert answer.headers["Retry-After"] == "10"
    assert client.get("/livez").status_code == 200


def test_another_version_of_the_tables_is_not_ready(app: OpenAPI, client: ContractClient) -> None:
    """A database of an older or newer version is not served from."""
    kith = app.extensions["kith"]
    assert client.get("/readyz").json == {"status": "ok", "storage": "ok"}
    with kith.runtime.database.write() as connection:
        before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    try:
        assert problem_code(client.get("/readyz")) == "service-unavailable"
    finally:
        with kith.runtime.database.write() as connection:
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{before}'"))


def test_readiness_waits_for_no_writer(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a long transaction writes, a monitor is answered at once."""
    monkeypatch.setattr(core_database, "SQLITE_BUSY_SECONDS", 0.05)
    app = make_app()
    with app.extensions["kith"].runtime.database.write() as connection:
        connection.execute(text("DELETE FROM limits"))
        assert app.test_client().get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/verifications", "/v1/verifications/", "/%00"])
def test_nothing_is_there(client: ContractClient, path: str) -> None:
    """An unknown path is a problem document that says where to look."""
    answer = client.get(path)
    assert answer.status_code == 404
    assert problem_code(answer) == "not-found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/verifications", {"OPTIONS", "POST"}),
        ("PUT", "/v1/account", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}),
        ("POST", "/livez", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/v1/registrations", {"OPTIONS", "POST"}),
    ],
)
def test_a_method_that_is_not_there(
    client: ContractClient, method: str, path: str, allowed: set[str]
) -> None:
    """The answer names the methods that are."""
    answer = client.open(path, method=method)
    assert problem_code(answer) == "method-not-allowed"
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_head_and_options(client: ContractClient) -> None:
    """HEAD is GET without its body; OPTIONS names the methods and needs no token."""
    head, get = client.head("/livez"), client.get("/livez")
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    refused = client.head("/v1/account")
    assert (refused.status_code, refused.data) == (401, b"")
    options = client.options("/v1/account")
    assert (options.status_code, options.data) == (200, b"")
    assert set(options.headers["Allow"].split(", ")) >= {"GET", "PATCH", "DELETE"}


def samples(client: ContractClient, name: str) -> dict[tuple[str, ...], float]:
    """Read a metric: its value by its labels' values, in the order of their names."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name:
                found[tuple(sample.labels[label] for label in sorted(sample.labels))] = sample.value
    return found


def test_metrics_of_requests(client: ContractClient) -> None:
    """Requests are counted by method, route and status, problems by code, steps by name."""
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json
    for _ in range(2):
        client.get(f"/v1/verifications/{started['id']}")
    client.get("/v1/account")
    requests = samples(client, "kith_http_requests_total")
    assert requests["GET", "/v1/verifications/<verification_id>", "200"] == 2
    assert requests["POST", "/v1/verifications", "201"] == 1
    assert requests["GET", "/v1/account", "401"] == 1
    assert samples(client, "kith_problems_total") == {("token-missing",): 1}
    assert samples(client, "kith_verifications_total") == {("started",): 1}
    assert samples(client, "kith_sends_total") == {("sms", "sent", "outbox"): 1}
    counted = samples(client, "kith_http_request_seconds_count")
    assert counted["/v1/verifications",] == 1


def test_metrics_hold_nothing_of_a_request(client: ContractClient) -> None:
    """Unknown paths, ids, methods and numbers make no labels."""
    for n in range(5):
        client.get(f"/nothing/{n}{NUMBER}")
        client.open("/livez", method=f"BREW{n}")
        client.get(f"/v1/verifications/unknown-{n}")
    requests: dict[Any, float] = samples(client, "kith_http_requests_total")
    assert requests["none", "none", "404"] == 5
    assert requests["none", "none", "405"] == 5
    assert requests["GET", "/v1/verifications/<verification_id>", "404"] == 5
    assert len(requests) <= 4
    text_ = client.get("/metrics").text
    assert not any(word in text_ for word in ("nothing", "BREW", "unknown-", NUMBER[1:]))


def test_the_docs_page_and_all_it_loads(client: ContractClient) -> None:
    """The page and its assets come from here, and nothing of it from elsewhere."""
    page = client.get("/docs")
    assert page.mimetype == "text/html"
    assert "http://" not in page.text and "https://" not in page.text
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert any(path.endswith(".js") for path in linked)
    assert any(path.endswith(".css") for path in linked)
    for path in linked:
        with client.get(path) as answer:
            assert answer.status_code == 200, path
            assert len(answer.data) > 0
    assert client.get("/v1/openapi.json").json["openapi"].startswith("3.1")
    assert problem_code(client.get("/docs/assets/nothing.js")) == "not-found"
    assert client.get("/docs/assets/../../app.py").status_code == 404
