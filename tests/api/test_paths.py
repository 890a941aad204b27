"""Paths that are written otherwise than the routes are: no way past the rules of a proxy."""

import json

import pytest
from flask.testing import FlaskClient

from core.paths import is_plain
from tests.conftest import MakeApp, problem_code


@pytest.mark.parametrize(
    "path",
    [
        "//metrics",
        "/%6detrics",
        "/%6Detrics",
        "/metric%73",
        "///metrics",
        "/%2Fmetrics",
        "/%2fmetrics",
        "/v1//account",
        "/v%31/account",
        "//v1/openapi.json",
        "/dev/%6futbox",
        "//livez",
    ],
)
def test_a_disguised_path_leads_nowhere(app, path):
    """Neither to a route nor to a redirect that names it."""
    response = FlaskClient(app).get(path, environ_overrides={"RAW_URI": path})
    assert (response.status_code, problem_code(response)) == (404, "not-found")
    assert "Location" not in response.headers


@pytest.mark.parametrize("path", ["/metrics#x", "/livez#", "/livez?x=1#y", "#/livez"])
def test_a_fragment_leads_nowhere(app, path):
    """No target has one; a proxy judges it as a part of the path, and a route would not."""
    response = FlaskClient(app).get("/livez", environ_overrides={"RAW_URI": path})
    assert (response.status_code, problem_code(response)) == (404, "not-found")


@pytest.mark.parametrize(
    "target",
    [
        "/metrics",
        "/v1/account?next=//x&y=%61",
        "http://id.example.com/metrics",
        "http://id.example.com",
        "/v1/x/%40user%3Aexample.com",
        "/v1/x/a%2Db%5Fc%7E%2E",
        "*",
        "",
    ],
)
def test_plain_targets_are_plain(target):
    """Escapes that a path needs, or that clients write without need, are none of its business."""
    assert is_plain(target)


def test_the_other_protocols_answer_in_their_own_form(make_app):
    """A disguised path under a prefix is refused as everything there is."""
    path = "/_matrix/identity/v2//account"
    response = (
        make_app(matrix_enabled=True, public_url="https://id.example.com")
        .test_client()
        .get(path, environ_overrides={"RAW_URI": path})
    )
    assert response.status_code == 404
    assert response.json["errcode"] == "M_UNRECOGNIZED"


def test_the_metrics_move_to_a_port_of_their_own(make_app: MakeApp) -> None:
    """They are not at the port of all the rest then."""
    client = make_app(metrics_port=9100).test_client()
    assert problem_code(client.get("/metrics")) == "not-found"
    assert client.get("/livez").status_code == 200


def test_the_document_is_written_once(app, client):
    """It is kept as it is sent."""
    first = client.get("/v1/openapi.json")
    assert first.content_type == "application/json"
    assert json.loads(first.data) == json.loads(app.json.dumps(app.api_doc))
    assert client.get("/v1/openapi.json").data == first.data
    assert app.extensions["openapi.json"] == first.data
