"""Lookups of services: the same as a device's, within a budget of the service's own."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from core.budgets import Budget
from tests.api.discovery.conftest import BEN, CARLA, made_up
from tests.conftest import problem_code
from tokens.service_tokens import DISCOVERY

BUDGET = Budget(100, 10)

# What a lookup costs does not depend on what answers it.
pytestmark = pytest.mark.parametrize("app", ["table"], indirect=True)


@pytest.fixture
def issue(app):
    """Issue a token to a service; it looks up as a person does."""

    def make(name="crm", budget=BUDGET):
        services = app.extensions["kith"].tokens.service_tokens
        token, _ = services.issue(name, [DISCOVERY], timedelta(days=90), budget)
        return SimpleNamespace(headers={"Authorization": f"Bearer {token}"})

    return make


def left(response):
    """Give what the budget holds after a lookup."""
    assert response.status_code == 200, response.text
    return response.json["budget"]["left"]


def test_it_finds_whom_a_device_finds(client, issue, look_up, hashed, register):
    """Parameters show its budget, and the lookup pays from it."""
    ben, crm = register(BEN), issue()
    shown = client.get("/v1/discovery/parameters", headers=crm.headers)
    assert shown.json["budget"] == {"left": 100, "capacity": 100, "refill_per_day": 10}
    answer = look_up([hashed(BEN), *made_up(9)], by=crm)
    assert answer.json["matches"] == {hashed(BEN): ben.account_id}
    assert answer.json["budget"] == {"left": 90, "capacity": 100, "refill_per_day": 10}
    assert left(look_up(made_up(1))) == 2_499


def test_the_budget_is_the_names(issue, look_up, clock):
    """Tokens of one name share what is spent, each with its own size; another name has another."""
    first, larger, other = issue(), issue(budget=Budget(200, 20)), issue("mailer")
    assert left(look_up(made_up(100), by=first)) == 0
    refused = look_up(made_up(1, 100), by=first)
    assert (refused.status_code, problem_code(refused)) == (429, "budget-exhausted")
    assert left(look_up(made_up(1, 100), by=larger)) == 99
    assert left(look_up(made_up(1, 100), by=other)) == 99
    clock.advance(days=1)
    assert left(look_up(made_up(1, 200), by=first)) == 8


def test_parameters_name_the_service_under_any_of_its_tokens(issue, client):
    """A job keeps what it paid for when its token is replaced, and apart from other services."""

    def owner_of(token):
        answer = client.get("/v1/discovery/parameters", headers=token.headers)
        return answer.json["budget_owner"]

    first, other, again = (owner_of(issue(name)) for name in ("crm", "mailer", "crm"))
    assert (first == again, first == other) == (True, False)


def test_a_sync_token_proves_for_the_name_alone(issue, look_up, anna):
    """Every token of the service may use it; for another service and for a person it proves nothing."""
    first, second, other = issue(), issue(), issue("mailer")
    book = made_up(10)
    proof = {"known": book, "sync_token": look_up(book, by=first).json["sync_token"]}
    assert left(look_up(by=second, **proof)) == 90
    assert left(look_up(by=other, **proof)) == 90
    assert left(look_up(by=anna, **proof)) == 2_490


def test_more_than_it_ever_holds(issue, look_up):
    """A page over its burst is refused as such."""
    refused = look_up(made_up(101), by=issue())
    assert (refused.status_code, problem_code(refused)) == (422, "budget-too-small")


def test_what_it_asks_is_not_its_networks(make_app, issue, anna, parameters):
    """It counts under its name, so that a large job raises no alarm for those around it."""
    app = make_app(discovery_network_alert_per_day=100)
    client, value = (
        app.test_client(),
        app.extensions["kith"].runtime.metrics.registry.get_sample_value,
    )

    def alerts_after(person, hashes):
        body = {"epoch": parameters["epoch"], "hashes": hashes}
        answer = client.post("/v1/discovery/lookups", json=body, headers=person.headers)
        assert answer.status_code == 200
        return value("kith_discovery_alerts_total", {"scope": "network"}) or 0

    crm = issue(budget=Budget(200, 1))
    assert alerts_after(crm, made_up(60)) == 0
    assert alerts_after(anna, made_up(60)) == 0
    assert alerts_after(issue("mailer"), made_up(60)) == 0
    assert alerts_after(crm, made_up(60, 100)) == 1


def test_nothing_else_is_open_to_it(client, issue, register):
    """Its token is no device's."""
    register(CARLA)
    for path in ("/v1/account", "/v1/devices", "/v1/messages"):
        answer = client.get(path, headers=issue().headers)
        assert (answer.status_code, problem_code(answer)) == (401, "token-invalid")
