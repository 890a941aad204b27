"""A signed report is taken once, however many come at once, on both databases."""

import json
from collections import Counter

import pytest
from flask_openapi3 import OpenAPI
from werkzeug.test import TestResponse

from tests.concurrency.test_verification import together
from tests.conftest import Clock, MakeApp, problem_code
from tests.contract.fake_sender import SECRET, signature
from tests.contract.one_send import REFERENCE, queue, sent_row


@pytest.fixture
def app(make_app: MakeApp) -> OpenAPI:
    """An application that sends through the webhook, and has queued one text."""
    app = make_app(sms_provider="webhook", webhook_url="http://127.0.0.1:9/", webhook_secret=SECRET)
    queue(app)
    return app


def report(app: OpenAPI, clock: Clock, name: str) -> TestResponse:
    """Post a report that the text was delivered, with a client of its own."""
    body = json.dumps({"reference": REFERENCE, "status": "delivered", "id": name}).encode()
    timestamp = str(int(clock.now.timestamp()))
    return app.test_client().post(
        "/v1/callbacks/webhook",
        data=body,
        content_type="application/json",
        headers={
            "webhook-id": name,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(SECRET, name, timestamp, body),
        },
    )


def deliveries(app: OpenAPI) -> float | None:
    """Count the deliveries that were news."""
    registry = app.extensions["kith"].runtime.metrics.registry
    labels = {"provider": "webhook", "status": "delivered"}
    return registry.get_sample_value("kith_deliveries_total", labels)


def test_of_twenty_identical_reports_one_is_taken(app: OpenAPI, clock: Clock) -> None:
    """One gets 204 and is the change; the others are told that it was taken."""
    answers = together(20, lambda _: report(app, clock, "evt"))

    codes = Counter(
        problem_code(answer) if answer.status_code == 403 else str(answer.status_code)
        for answer in answers
    )
    assert codes == {"204": 1, "callback-duplicate": 19}
    assert deliveries(app) == 1
    assert sent_row(app).status == "delivered"


def test_twenty_reports_of_one_delivery_are_one_change(app: OpenAPI, clock: Clock) -> None:
    """Each of them is taken, one of them is news, and its id is the send's."""
    answers = together(20, lambda n: report(app, clock, f"evt-{n}"))

    assert [answer.status_code for answer in answers] == [204] * 20
    assert deliveries(app) == 1
    row = sent_row(app)
    assert row.status == "delivered"
    assert row.provider_message_id in {f"evt-{n}" for n in range(20)}
