"""Whatever is sent as a body gets a clear problem document, and leaves nothing behind."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import func, select

from core.database import Base, Database
from tests.camara import PREFIX, Service, error
from tests.conftest import OTHER_NUMBER, Person, problem_code
from tests.contract.openapi import ContractClient

LIMIT = 1_048_576
JSON = "application/json"
#: Fields that take any short text and then find nothing in it or by it.
NAMING = {
    "code": "code-unreadable",
    "link_code": "link-code-invalid",
    "phone_number": "phone-number-invalid",
    "verification_id": "verification-not-found",
}


class Route(NamedTuple):
    """One operation that takes a body, and the fields that the body has."""

    method: str
    path: str
    fields: list[str]


class Sent(NamedTuple):
    """One hostile request, and the codes it may be refused with."""

    name: str
    body: bytes
    codes: set[str]
    content_type: str | None = JSON


def _unreadable() -> Iterator[Sent]:
    """Bodies that are not JSON, or too deep or too long to be read as such."""
    codes = {"malformed-request"}
    yield Sent("nothing", b"", codes)
    yield Sent("cut short", b'{"a": ', codes)
    yield Sent("no value", b"nul", codes)
    yield Sent("two values", b"{} {}", codes)
    yield Sent("raw NUL bytes", b"\x00" * 100, codes)
    yield Sent("a raw NUL byte in a text", b'{"a": "\x00"}', codes)
    yield Sent("not UTF-8", b'{"a": "\xff\xfe"}', codes)
    yield Sent("a raw lone surrogate", b'{"a": "\xed\xa0\x80"}', codes)
    yield Sent("an escaped lone surrogate", b'{"a": "\\ud800"}', codes)
    yield Sent("UTF-16", '{"a": 1}'.encode("utf-16"), codes)
    yield Sent("10,000 brackets", b"[" * 10_000, codes)
    yield Sent("10,000 closed brackets", b"[" * 10_000 + b"]" * 10_000, codes | {"invalid-fields"})
    yield Sent("10,000 braces", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, codes)
    yield Sent("over the limit", b" " * (LIMIT + 1), {"body-too-large"})
    for content_type in ("text/plain", "multipart/form-data", "application/xml", "nonsense", None):
        yield Sent(f"as {content_type}", b"{}", {"unsupported-media-type"}, content_type)


def _unfit(fields: list[str]) -> Iterator[Sent]:
    """JSON that is not what the route takes."""
    codes = {"invalid-fields"}
    for value in (b"null", b"true", b"1", b'"text"', b"[]", b"[{}]"):
        yield Sent(f"the value {value.decode()}", value, codes)
    yield Sent("an unknown field", b'{"unexpected": 1}', codes)
    yield Sent("an unknown field of a long name", json.dumps({"x" * 9_000: 1}).encode(), codes)
    yield Sent(
        "10,000 unknown fields", json.dumps(dict.fromkeys(map(str, range(10_000)))).encode(), codes
    )
    yield Sent("a number like NaN", b'{"unexpected": NaN}', codes | {"malformed-request"})
    yield Sent(
        "a number of 5,000 digits",
        b'{"unexpected": %s}' % (b"9" * 5_000),
        codes | {"malformed-request"},
    )
    for name in fields:
        unfit = codes | ({NAMING[name]} if name in NAMING else set())
        for label, value in {
            "a list": [],
            "a list of lists": [[[]]],
            "an object": {"a": 1},
            "a fraction": 1.5,
            "a huge number": 10**400,
            "an empty text": "",
            "a NUL": "\x00",
            "a NUL within": "+49151\x0012345678",
            "a line end": "a\r\nb",
            "a wrong way round": "\u202e",
            "1 MB": "a" * (LIMIT - 100),
            "1 MB of digits": "1" * (LIMIT - 100),
        }.items():
            yield Sent(f"{name}: {label}", json.dumps({name: value}).encode(), unfit)
        deep = b'{"%s": %s}' % (name.encode(), b"[" * 5_000 + b"]" * 5_000)
        yield Sent(f"{name}: 5,000 brackets", deep, codes | {"malformed-request"})


def _routes(app: OpenAPI, *, of_camara: bool = False) -> Iterator[Route]:
    """Give each operation that takes a JSON body, native or CAMARA, but those that are signed."""
    document = app.api_doc
    for path, item in document["paths"].items():
        if path.startswith(PREFIX) is not of_camara:
            continue
        for method in {"post", "put", "patch"} & item.keys():
            content = item[method].get("requestBody", {}).get("content", {})
            # What is not signed is refused before it is read; tests of its own sign what is hostile.
            signed = {"webhook_signature": []} in item[method].get("security", [])
            if JSON in content and not signed:
                name = content[JSON]["schema"]["$ref"].rpartition("/")[2]
                shape = document["components"]["schemas"][name]
                yield Route(method, path, list(shape["properties"]))


@pytest.fixture
def person(register: Callable[..., Person]) -> Person:
    """Whoever sends all this."""
    return register()


@pytest.fixture
def fill(client: ContractClient, person: Person) -> Callable[[str], str]:
    """Put ids of what exists into a path, so that only the body can be wrong."""
    started = client.post("/v1/verifications", json={"phone_number": OTHER_NUMBER})
    group = client.post("/v1/groups", json={"name": "Alone", "members": []}, headers=person.headers)
    names = {
        "verification_id": started.json["id"],
        "device_id": person.device_id,
        "group_id": group.json["id"],
        "account_id": person.account_id,
    }

    def format_path(path: str) -> str:
        return path.format_map(names | {"reference": "r" * 43})

    return format_path


@pytest.fixture
def rows(database: Database) -> Callable[[], dict[str, int]]:
    """Count the rows of each table."""

    def count() -> dict[str, int]:
        with database.read() as session:
            return {
                name: session.scalar(select(func.count()).select_from(table)) or 0
                for name, table in Base.metadata.tables.items()
            }

    return count


def test_hostile_bodies_are_refused(
    app: OpenAPI,
    client: ContractClient,
    person: Person,
    fill: Callable[[str], str],
    rows: Callable[[], dict[str, int]],
) -> None:
    """Every route that takes a body refuses each of these with a reason, and stores nothing."""
    routes = list(_routes(app))
    assert len(routes) >= 10
    for route in routes:
        before = rows()
        for sent in [*_unreadable(), *_unfit(route.fields)]:
            answer = client.open(
                fill(route.path),
                method=route.method,
                data=sent.body,
                content_type=sent.content_type,
                headers=person.headers,
            )
            where = f"{route.method} {route.path} with {sent.name}: {answer.text[:300]}"
            assert 400 <= answer.status_code < 500, where
            assert problem_code(answer) in sent.codes, where
            assert len(answer.data) < 10_000, where
        assert rows() == before, route


def test_hostile_bodies_are_refused_by_the_camara_door(
    app: OpenAPI, client: ContractClient, rows: Callable[[], dict[str, int]]
) -> None:
    """It refuses all of these too, in its own format, and stores nothing."""
    headers = {"Authorization": f"Bearer {Service(app).token}"}
    before = rows()
    routes = list(_routes(app, of_camara=True))
    assert len(routes) == 2
    for route in routes:
        for sent in [*_unreadable(), *_unfit(route.fields)]:
            answer = client.post(
                route.path, data=sent.body, content_type=sent.content_type, headers=headers
            )
            assert error(answer)[0] in (400, 415), f"{route.path} with {sent.name}"
            assert len(answer.data) < 10_000
    assert rows() == before


def test_a_chunked_body_over_its_limit_is_refused(
    app: OpenAPI, client: ContractClient, person: Person, fill: Callable[[str], str]
) -> None:
    """A body that does not say how long it is gets no further than one that does."""
    for route in _routes(app):
        answer = client.open(
            fill(route.path),
            method=route.method,
            input_stream=io.BytesIO(b" " * (LIMIT + 2)),
            content_type=JSON,
            headers=person.headers | {"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert (answer.status_code, problem_code(answer)) == (413, "body-too-large"), route


def test_routes_without_a_body_ignore_what_comes(
    app: OpenAPI, client: ContractClient, person: Person
) -> None:
    """Where nothing is read, nothing that is sent can break anything."""
    taking = {(route.method, route.path) for route in _routes(app)}
    without = [
        (method, path)
        for path, item in app.api_doc["paths"].items()
        for method in {"post", "put", "patch"} & item.keys()
        if (method, path) not in taking
    ]
    assert without
    for method, path in without:
        for sent in _unreadable():
            answer = client.open(
                path.replace("{reference}", "r" * 43),
                method=method,
                data=sent.body,
                content_type=sent.content_type,
                headers=person.headers,
            )
            assert answer.status_code < 500, f"{method} {path} with {sent.name}"
    assert client.get("/v1/account", headers=person.headers).status_code == 200


@pytest.mark.parametrize(
    "query",
    ["limit=-1", "limit=0", "limit=101", "limit=x", "limit=", "limit=1&limit=2", "wait=61", "x=1",
     "limit=%00", "limit=%ff", "limit=9" + "9" * 5_000, "wait=1e3", "wait=-1", "%00=1"],
)  # fmt: skip
def test_hostile_queries_are_refused(client: ContractClient, person: Person, query: str) -> None:
    """A page that is no page is refused by the name of its parameter."""
    answer = client.get(f"/v1/messages?{query}", headers=person.headers)
    assert (answer.status_code, problem_code(answer)) == (422, "invalid-fields"), query
    assert answer.json["errors"][0]["pointer"].startswith("?/")


@pytest.mark.parametrize(
    "name", ["%00", "%ff", "a%2Fb", "x" * 3_000, "%F0%9F%92%A9", "..", "'; DROP TABLE devices; --"]
)
def test_hostile_ids_are_not_found(client: ContractClient, person: Person, name: str) -> None:
    """An id that cannot be one is an id of nothing."""
    for path in (
        f"/v1/verifications/{name}",
        f"/v1/accounts/{name}/devices",
        f"/v1/keys/{name}",
        f"/v1/groups/{name}",
        f"/v1/groups/{name}/devices",
        f"/v1/{name}",
    ):
        answer = client.get(path, headers=person.headers)
        assert answer.status_code == 404, path
        assert problem_code(answer).endswith("not-found")
    answer = client.delete(f"/v1/devices/{name}", headers=person.headers)
    assert answer.status_code in (404, 405)


@pytest.mark.parametrize("key", ["", " ", "a b", "\u00e4", "x" * 256, "\t"])
def test_hostile_idempotency_keys_are_refused(client: ContractClient, key: str) -> None:
    """A key that is not 1 to 255 visible ASCII characters is refused, and nothing is sent."""
    answer = client.post(
        "/v1/verifications", json={"phone_number": OTHER_NUMBER}, headers={"Idempotency-Key": key}
    )
    assert (answer.status_code, problem_code(answer)) == (400, "malformed-request")
    assert client.get("/dev/outbox.json").json["messages"] == []


def test_hostile_header_fields_change_nothing(
    client: ContractClient, database: Database, any_header: Any
) -> None:
    """Header fields that lie or make no sense are ignored."""
    answer = client.get("/livez", headers=any_header)
    assert answer.status_code == 200
    assert answer.headers["X-Request-Id"] != any_header.get("X-Request-Id")


@pytest.fixture(
    params=[
        {"X-Request-Id": "no spaces please"},
        {"X-Request-Id": "x" * 65},
        {"X-Forwarded-For": "nonsense, , 999.1.1.1"},
        {"Authorization": "Bearer \u00ff"},
        {"Host": "elsewhere.example"},
    ],
    ids=str,
)
def any_header(request: pytest.FixtureRequest) -> dict[str, str]:
    """A header field that nobody honest sends."""
    return dict(request.param)
