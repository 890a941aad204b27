"""What a lookup costs and what it does not, through HTTP."""

import pytest

from tests.api.discovery.conftest import ANNA, BEN, CARLA, made_up
from tests.conftest import problem_code

# What a lookup costs does not depend on what answers it.
pytestmark = pytest.mark.parametrize("app", ["table"], indirect=True)


def left(response):
    """Give what the budget holds after a lookup."""
    assert response.status_code == 200, response.text
    return response.json["budget"]["left"]


def refused(response):
    """Give the problem code of a refusal."""
    return response.status_code, problem_code(response)


def test_only_what_is_new_costs(look_up, hashed, register):
    """Known hashes are looked up again for nothing, and who arrived meanwhile is found."""
    book = [hashed(BEN), *made_up(9)]
    first = look_up(book)
    assert (left(first), first.json["matches"]) == (2_490, {})
    ben = register(BEN)
    again = look_up(made_up(5, 100), known=book, sync_token=first.json["sync_token"])
    assert (left(again), again.json["matches"]) == (2_485, {hashed(BEN): ben.account_id})
    whole = look_up(known=book[::-1] + made_up(5, 100), sync_token=again.json["sync_token"])
    assert (left(whole), whole.json["matches"]) == (2_485, {hashed(BEN): ben.account_id})
    assert whole.json["sync_token"] == again.json["sync_token"]


def test_order_and_duplicates_do_not_matter(look_up):
    """A set is a set: it is proven in any order, and each hash is paid for once."""
    book = made_up(10)
    token = look_up(book + book[:5]).json["sync_token"]
    assert left(look_up(book[:3], known=sorted(book) * 2, sync_token=token)) == 2_490


def test_a_token_that_does_not_prove_has_no_effect(look_up, register, parameters):
    """Wrong, tampered, foreign, or of another set: all that it should have proven is paid in full."""
    book = made_up(10)
    token = look_up(book).json["sync_token"]
    spoiled = token[:-1] + ("A" if token[-1] != "A" else "B")
    cost = 2_490
    for known, given in (
        (made_up(20, 100), token),
        (made_up(9), spoiled),
        (made_up(8), "x"),
        (made_up(7), "Ä" * 44),
        (made_up(6), None),
        (made_up(11), token),
    ):
        cost -= len(known)
        assert left(look_up(known=known, sync_token=given)) == cost
    ben = register(BEN)
    assert left(look_up(by=ben, known=book, sync_token=token)) == 2_490


def test_over_budget_nothing_is_answered_and_nothing_paid(look_up, hashed, register):
    """A page that is too much is refused whole; a smaller one is then still paid for."""
    register(BEN)
    assert left(look_up(made_up(2_400))) == 100
    response = look_up([hashed(BEN), *made_up(100, 5_000)])
    assert refused(response) == (429, "budget-exhausted")
    told = {name: response.json[name] for name in ("left", "capacity", "needed")}
    assert told == {"left": 100, "capacity": 2_500, "needed": 101}
    assert response.json["retry_after"] == int(response.headers["Retry-After"]) == 1_728
    assert response.headers["RateLimit"] == '"discovery";r=100;t=1728'
    assert "matches" not in response.json
    assert left(look_up([hashed(BEN)])) == 99


def test_it_is_enough_when_it_said(look_up, clock):
    """Who waits as long as she was told to is served."""
    look_up(made_up(2_500))
    page = made_up(60, 5_000)
    wait = look_up(page).json["retry_after"]
    clock.advance(wait - 1)
    assert refused(look_up(page)) == (429, "budget-exhausted")
    clock.advance(1)
    assert left(look_up(page)) == 0


def test_a_page_that_can_never_be_paid_says_so(look_up):
    """Nobody is told to wait for what waiting does not bring."""
    response = look_up(made_up(2_501))
    assert refused(response) == (422, "budget-too-small")
    assert "Retry-After" not in response.headers
    assert (response.json["needed"], response.json["capacity"]) == (2_501, 2_500)


def test_the_same_request_again_is_paid_once(look_up):
    """Whoever lost the answer asks again and pays nothing, in whatever order."""
    page = made_up(2_000)
    first = look_up(page)
    again = look_up(page[::-1])
    assert (left(first), left(again)) == (500, 500)
    assert first.json == again.json


@pytest.mark.parametrize("by", ["registering again", "deleting the account", "another device"])
def test_a_new_account_or_device_has_the_same_budget(client, register, look_up, by):
    """The budget is the number's: nothing that its owner can do again gives it back."""
    anna = register(ANNA)
    assert left(look_up(made_up(2_000), by=anna)) == 500
    if by == "deleting the account":
        assert client.delete("/v1/account", headers=anna.headers).status_code == 204
    if by == "another device":
        made = client.post("/v1/device-links", headers=anna.headers).json
        joined = client.post("/v1/device-links/redeem", json={"link_code": made["link_code"]}).json
        headers = {"Authorization": f"Bearer {joined['device_token']}"}
    else:
        headers = register(ANNA).headers
    budget = client.get("/v1/discovery/parameters", headers=headers).json["budget"]
    assert budget == {"left": 500, "capacity": 2_500, "refill_per_day": 50}


def test_a_book_over_the_limit_is_refused_whatever_is_known(look_up):
    """Known hashes count toward the size of a page."""
    response = look_up(made_up(1) * 5_000, known=made_up(1) * 5_001)
    assert refused(response) == (422, "invalid-fields")
    assert [fault["pointer"] for fault in response.json["errors"]] == ["/hashes"]


def test_alerts_refuse_nobody(make_app, register, parameters):
    """The first lookup past a day's alert is reported to the operator, once, and answered.

    Neighbours count together, and a request that is repeated counts once.
    """
    app = make_app(discovery_network_alert_per_day=100, discovery_alert_per_day=150)
    client, value = (
        app.test_client(),
        app.extensions["kith"].runtime.metrics.registry.get_sample_value,
    )

    def alarms():
        name = "kith_discovery_alerts_total"
        return [value(name, {"scope": scope}) or 0 for scope in ("network", "everybody")]

    def ask(person, network, hashes):
        answer = client.post(
            "/v1/discovery/lookups",
            json={"epoch": parameters["epoch"], "hashes": hashes},
            headers=person.headers,
            environ_overrides={"REMOTE_ADDR": network},
        )
        assert answer.status_code == 200

    ben, carla = register(BEN), register(CARLA)
    for _ in range(2):
        ask(ben, "192.0.2.1", made_up(100))
        assert alarms() == [0, 0]
    ask(carla, "192.0.2.77", made_up(1))
    assert alarms() == [1, 0]
    ask(carla, "192.0.2.1", made_up(40, 100))
    assert alarms() == [1, 0]
    ask(ben, "198.51.100.2", made_up(40, 200))
    assert alarms() == [1, 1]
