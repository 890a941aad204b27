"""The question to a homeserver that a stranger named: where it goes, and what of its answer is believed."""

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from werkzeug.test import TestResponse

from core.host_resolver import resolve
from interop.matrix import federation
from tests.conftest import MakeApp
from tests.contract.fake_http import Answer, FakeProvider, Received
from tests.matrix import V2, Homeserver, fault, make_matrix_app

UNAVAILABLE = (400, "M_UNKNOWN")
UNAUTHORIZED = (401, "M_UNAUTHORIZED")


@pytest.fixture
def dialect() -> str:
    """One database is enough: what is asked of homeservers does not depend on it."""
    return "sqlite"


def register(app: OpenAPI, openid: dict[str, Any]) -> TestResponse:
    """Register with an OpenID token."""
    return app.test_client().post(f"{V2}/account/register", json=openid)


def outcomes(app: OpenAPI) -> dict[str, float]:
    """Return how often each outcome was counted."""
    (family,) = app.extensions["kith"].matrix.metrics.homeserver_requests.collect()
    return {
        sample.labels["outcome"]: sample.value
        for sample in family.samples
        if sample.name.endswith("_total")
    }


@pytest.fixture
def addresses() -> dict[str, list[str]]:
    """What the test's DNS says of hosts that are not on the loopback."""
    return {}


@pytest.fixture
def matrix_app(make_app: MakeApp, addresses: dict[str, list[str]]) -> OpenAPI:
    """An application with its Matrix adapter open."""
    resolver = {"resolver": lambda host: addresses.get(host, ["127.0.0.1"])}
    return make_matrix_app(make_app, ports=resolver)


@pytest.fixture
def closed(make_app: MakeApp) -> OpenAPI:
    """An application that may go to public addresses only."""
    return make_matrix_app(make_app, matrix_allowed_networks=())


def test_a_token_that_it_does_not_know_is_refused(
    matrix_app: OpenAPI, homeserver: Homeserver
) -> None:
    """What the homeserver refuses, this service does."""
    answer = register(matrix_app, homeserver.openid("alice") | {"access_token": "stolen"})
    assert fault(answer) == UNAUTHORIZED
    assert outcomes(matrix_app) == {"refused": 1}


@pytest.mark.parametrize(
    "user", ["@alice:other.example", "@alice:hs.example", "@alice:evil.example:8448"]
)
def test_a_homeserver_vouches_for_its_own_users_only(
    matrix_app: OpenAPI, homeserver: Homeserver, user: str
) -> None:
    """Whom it names must be of the very server name that was asked, port included."""
    openid = homeserver.openid("alice")
    homeserver.subjects[openid["access_token"]] = user
    assert fault(register(matrix_app, openid)) == UNAUTHORIZED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"sub": 1}',
        b'{"sub": ""}',
        b'{"sub": "alice"}',
        b'{"sub": "@:hs.example"}',
        b"[" * 50_000,
        b'{"sub": "\xff"}',
        b'{"a": "' + b"x" * 70_000 + b'", "sub": "@alice:hs.example"}',
    ],
    ids=range(10),
)
def test_an_answer_that_cannot_be_read_is_none(
    matrix_app: OpenAPI, homeserver: Homeserver, body: bytes
) -> None:
    """Whatever is no short JSON object with a user id vouches for nobody."""
    openid = homeserver.openid("alice")
    homeserver.next(Answer(200, body))
    assert fault(register(matrix_app, openid)) == UNAVAILABLE
    assert outcomes(matrix_app) == {"answer": 1}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(
    matrix_app: OpenAPI, homeserver: Homeserver, status: int
) -> None:
    """Wherever it points, nothing is asked there."""
    openid = homeserver.openid("alice")
    with Homeserver() as other:
        homeserver.next(Answer(status, b"", {"Location": f"{other.url}/latest/meta-data"}))
        assert fault(register(matrix_app, openid)) == UNAVAILABLE
        assert other.received == []


@pytest.mark.parametrize(
    "answer", [Answer(drop=True), Answer(500), Answer(200, b"{", cut_body=True)]
)
def test_a_homeserver_that_fails_is_unavailable(
    matrix_app: OpenAPI, homeserver: Homeserver, answer: Answer
) -> None:
    """It is asked once, and the caller is not told how it failed."""
    openid = homeserver.openid("alice")
    homeserver.next(answer)
    refused = register(matrix_app, openid)
    assert fault(refused) == UNAVAILABLE
    assert len(homeserver.received) == 1
    assert "127.0.0.1" not in refused.text


def test_an_answer_that_drips_is_cut_off(
    matrix_app: OpenAPI, homeserver: Homeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much comes between two waits, the whole question has an end."""
    monkeypatch.setattr(federation, "REQUEST_SECONDS", 0.3)
    openid = homeserver.openid("alice")
    homeserver.next(Answer(200, b'{"sub": "@alice:hs.example"}' + b" " * 1000, drip=0.02))
    assert fault(register(matrix_app, openid)) == UNAVAILABLE


def test_a_silent_homeserver_is_given_up(
    matrix_app: OpenAPI, homeserver: Homeserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says nothing is waited for as long as a step takes."""
    monkeypatch.setattr(federation, "STEP_SECONDS", 0.1)
    openid = homeserver.openid("alice")
    homeserver.next(Answer(200, b"{}", delay=0.5))
    assert fault(register(matrix_app, openid)) == UNAVAILABLE


@pytest.mark.parametrize(
    "name",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
        "0.0.0.0",
        "[::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "[ff02::1]",
        "[fec0::1]",
    ],
)
def test_addresses_inside_are_not_connected_to(
    closed: OpenAPI, homeserver: Homeserver, name: str
) -> None:
    """However an address inside is written, and whatever it is wrapped in, nothing is sent there."""
    openid = homeserver.openid("alice") | {"matrix_server_name": f"{name}:{homeserver.port}"}
    assert fault(register(closed, openid)) == UNAVAILABLE
    assert outcomes(closed) == {"address": 1}
    assert homeserver.received == []


def test_a_name_that_leads_inside_is_refused(closed: OpenAPI, homeserver: Homeserver) -> None:
    """The address is checked after it was resolved."""
    assert fault(register(closed, homeserver.openid("alice"))) == UNAVAILABLE
    assert outcomes(closed) == {"address": 1}
    assert homeserver.received == []


def test_a_name_is_resolved_once(make_app: MakeApp, homeserver: Homeserver) -> None:
    """The checked address is the one connected to: the DNS is not asked a second time."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    app = make_matrix_app(make_app, ports={"resolver": lambda host: next(answers)})
    assert register(app, homeserver.openid("alice")).status_code == 200
    assert next(answers) == ["10.0.0.1"]


def test_of_several_addresses_one_that_is_allowed_is_taken(
    matrix_app: OpenAPI, homeserver: Homeserver, addresses: dict[str, list[str]]
) -> None:
    """What leads inside is passed over."""
    addresses["hs.example"] = ["10.0.0.1", "::1", "127.0.0.1"]
    assert register(matrix_app, homeserver.openid("alice")).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "hs.example:0",
        "hs.example:65536",
        "hs.example:443:1",
        "user@hs.example",
        "hs.example/path",
        "hs.example?x=",
        "hs.example#x",
        "https://hs.example",
        "hs.example\r\nX: y",
        "[127.0.0.1",
        "[zz::1]",
        "exämple.com",
        "a" * 256,
    ],
)
def test_what_is_no_server_name_is_not_asked(matrix_app: OpenAPI, name: str) -> None:
    """Nothing but a name or an address, with or without a port, is connected to."""
    answer = register(matrix_app, {"access_token": "t", "matrix_server_name": name})
    assert fault(answer) in {UNAVAILABLE, (400, "M_INVALID_PARAM")}
    assert set(outcomes(matrix_app)) <= {"name"}


def test_a_name_that_leads_nowhere_is_unavailable(make_app: MakeApp) -> None:
    """What the DNS does not know cannot be asked."""

    def unknown(host: str) -> list[str]:
        raise OSError("no such host")

    app = make_matrix_app(make_app, ports={"resolver": unknown})
    body = {"access_token": "t", "matrix_server_name": "hs.example"}
    assert fault(register(app, body)) == UNAVAILABLE
    assert outcomes(app) == {"name": 1}


def test_the_system_resolves_names() -> None:
    """The resolver that the service uses gives addresses as text."""
    assert "127.0.0.1" in resolve("localhost")


def test_a_certificate_must_fit_the_name(matrix_app: OpenAPI, homeserver: Homeserver) -> None:
    """One for another name is no certificate at all, and the token is not sent."""
    openid = homeserver.openid("alice", host="stranger.example")
    assert fault(register(matrix_app, openid)) == UNAVAILABLE
    assert outcomes(matrix_app) == {"certificate": 1}
    assert homeserver.received == []


def test_a_certificate_must_be_believed(make_app: MakeApp, homeserver: Homeserver) -> None:
    """Without the setting only public authorities are."""
    app = make_matrix_app(make_app, matrix_ca_file=None)
    assert fault(register(app, homeserver.openid("alice"))) == UNAVAILABLE
    assert homeserver.received == []


def test_an_address_can_be_a_server_name(matrix_app: OpenAPI, homeserver: Homeserver) -> None:
    """Its certificate then is one for the address."""
    assert register(matrix_app, homeserver.openid("alice", host="127.0.0.1")).status_code == 200


def test_plain_http_is_not_spoken(matrix_app: OpenAPI) -> None:
    """A server without TLS gets nothing that it could read."""

    class Plain(FakeProvider):
        def accept(self, request: Received) -> Answer:
            return Answer(200, b"{}")

    with Plain() as server:
        port = server.url.rpartition(":")[2]
        body = {"access_token": "t", "matrix_server_name": f"hs.example:{port}"}
        assert fault(register(matrix_app, body)) == UNAVAILABLE
        assert server.received == []


class WellKnown(Homeserver):
    """A host that says where its homeserver is."""

    def __init__(self, answer: Callable[[], Answer]) -> None:
        super().__init__()
        self._answer = answer

    def accept(self, request: Received) -> Answer:
        """Return where it listens."""
        assert request.path == "/.well-known/matrix/server"
        assert request.headers["Host"] == "other.example"
        return self._answer()


@pytest.fixture
def well_known(homeserver: Homeserver, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Answer]]:
    """A host in front of the homeserver; the test puts its one answer into the list."""
    answers: list[Answer] = []
    with WellKnown(lambda: answers[0]) as host:
        monkeypatch.setattr(federation, "HTTPS_PORT", host.port)
        monkeypatch.setattr(federation, "FEDERATION_PORT", homeserver.port)
        yield answers


def test_a_host_delegates(
    matrix_app: OpenAPI, homeserver: Homeserver, well_known: list[Answer]
) -> None:
    """What `.well-known` names is asked instead, under its own name; the user is of the first one."""
    delegated = homeserver.name("delegated.example")
    well_known.append(Answer(200, b'{"m.server": "%s"}' % delegated.encode()))
    homeserver.subjects["t"] = "@alice:other.example"
    answer = register(matrix_app, {"access_token": "t", "matrix_server_name": "other.example"})
    assert answer.status_code == 200, answer.text
    assert homeserver.received[0].headers["Host"] == delegated


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(200, b"no JSON"),
        Answer(200, b'{"m.server": "user@evil.example"}'),
        Answer(302, b"", {"Location": "https://127.0.0.1/"}),
        Answer(drop=True),
    ],
)
def test_without_delegation_the_name_itself_is_asked(
    matrix_app: OpenAPI, homeserver: Homeserver, well_known: list[Answer], answer: Answer
) -> None:
    """On the port of federation."""
    well_known.append(answer)
    homeserver.subjects["t"] = "@alice:other.example"
    body = {"access_token": "t", "matrix_server_name": "other.example"}
    assert register(matrix_app, body).status_code == 200
    assert homeserver.received[0].headers["Host"] == homeserver.name("other.example")


def test_delegation_leads_nowhere_inside(
    matrix_app: OpenAPI,
    homeserver: Homeserver,
    well_known: list[Answer],
    addresses: dict[str, list[str]],
) -> None:
    """The address that `.well-known` leads to is checked like any other."""
    addresses["delegated.example"] = ["169.254.169.254"]
    well_known.append(Answer(200, b'{"m.server": "delegated.example"}'))
    body = {"access_token": "t", "matrix_server_name": "other.example"}
    assert fault(register(matrix_app, body)) == UNAVAILABLE
    assert outcomes(matrix_app) == {"address": 1}
    assert homeserver.received == []


def test_nothing_secret_is_logged(
    matrix_app: OpenAPI, homeserver: Homeserver, all_logged: Callable[[], str]
) -> None:
    """Neither the OpenID token nor the access token is in any log."""
    openid = homeserver.openid("alice")
    token = register(matrix_app, openid).json["token"]
    client = matrix_app.test_client()
    client.get(f"{V2}/account", query_string={"access_token": token})
    register(matrix_app, openid | {"matrix_server_name": "stranger.example:1"})
    logged = all_logged()
    assert "matrix.homeserver_unavailable" in logged
    assert openid["access_token"] not in logged
    assert token not in logged


def test_tls_is_of_a_version_that_holds(matrix_app: OpenAPI) -> None:
    """Nothing older than TLS 1.2 is spoken, and host names are checked."""
    homeservers = matrix_app.extensions["kith"].matrix.accounts.homeservers
    assert homeservers._tls.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert homeservers._tls.check_hostname
