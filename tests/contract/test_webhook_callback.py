"""Delivery reports from the operator's sender: signed just now, each at most once, in any order."""

import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from sms.delivery import Outcome
from sms.models import Send, TakenReport
from tests.conftest import NUMBER, Clock, MakeApp, problem_code
from tests.contract.fake_http import Answer, Received
from tests.contract.fake_sender import OLD_SECRET, SECRET, FakeSender, signature
from tests.contract.one_send import DIGEST, REFERENCE, queue, sent_row

PATH = "/v1/callbacks/webhook"

Post = Callable[..., TestResponse]


@pytest.fixture
def make_webhook_app(make_app: MakeApp, sender: FakeSender) -> MakeApp:
    """Make applications that send through the fake."""

    def make(**settings: Any) -> OpenAPI:
        return make_app(
            **{
                "sms_provider": "webhook",
                "webhook_url": sender.address,
                "webhook_secret": SECRET,
                "webhook_secret_previous": OLD_SECRET,
            }
            | settings
        )

    return make


@pytest.fixture
def app(make_webhook_app: MakeApp) -> OpenAPI:
    """An application that sends through the webhook, and has queued one text."""
    app = make_webhook_app()
    queue(app)
    return app


def report(status: str = "delivered", **fields: Any) -> dict[str, Any]:
    """Write a report on the text."""
    return {"reference": REFERENCE, "status": status} | fields


def deliver(
    app: OpenAPI,
    document: Any,
    *,
    clock: Clock,
    name: str = "evt-1",
    age: float = 0,
    secret: str = SECRET,
    signed: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> TestResponse:
    """Sign a report, or the bytes `signed` instead, as of `age` seconds ago, and post it."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    timestamp = str(int((clock.now - timedelta(seconds=age)).timestamp()))
    fields = {
        "webhook-id": name,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(secret, name, timestamp, body if signed is None else signed),
        "Content-Type": "application/json",
    } | (headers or {})
    return app.test_client().post(PATH, data=body, headers=fields)


@pytest.fixture
def post(app: OpenAPI, clock: Clock) -> Post:
    """Post a report, signed as the sender signs unless the test says otherwise."""
    return lambda document, **changed: deliver(app, document, clock=clock, **changed)


def refused(answer: TestResponse) -> tuple[int, str]:
    """Give the status and the problem code of a refusal."""
    return answer.status_code, problem_code(answer)


def remembered(app: OpenAPI) -> int:
    """Count the reports that were taken."""
    with app.extensions["kith"].runtime.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(TakenReport)) or 0


def test_report_is_taken(app: OpenAPI, post: Post) -> None:
    """A signed report settles the send, with the sender's id and error code."""
    answer = post(report("undelivered", id="m-7", error_code="absent.1"))

    assert (answer.status_code, answer.data) == (204, b"")
    row = sent_row(app)
    assert (row.status, row.provider_message_id, row.error_code) == (
        "undelivered",
        "m-7",
        "absent.1",
    )
    assert remembered(app) == 1


@pytest.mark.parametrize("word", ["sent", "delivered", "undelivered", "failed"])
def test_unknown_becomes_known(make_webhook_app: MakeApp, clock: Clock, word: str) -> None:
    """A send whose answer was lost is settled by its report, with the sender's id of it."""
    app = make_webhook_app()
    queue(app, Outcome("unknown", error_code="read-timeout"))

    assert deliver(app, report(word, id="m-7"), clock=clock).status_code == 204
    row = sent_row(app)
    assert (row.status, row.provider_message_id) == (word, "m-7")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sent", "delivered"], "delivered"),
        (["delivered", "sent"], "delivered"),
        (["delivered", "failed"], "delivered"),
        (["undelivered", "sent", "delivered"], "undelivered"),
        (["failed", "delivered"], "failed"),
    ],
)
def test_reordering_is_harmless(app: OpenAPI, post: Post, words: list[str], expected: str) -> None:
    """What is final stays, and what is late changes nothing."""
    answers = [post(report(word), name=f"evt-{n}") for n, word in enumerate(words)]

    assert [answer.status_code for answer in answers] == [204] * len(words)
    assert sent_row(app).status == expected


def test_replayed_report_is_refused(app: OpenAPI, post: Post, clock: Clock) -> None:
    """The same report again, at once or at the end of its time, changes nothing and says so."""
    assert post(report("sent")).status_code == 204
    before = sent_row(app).updated_at
    clock.advance(minutes=5)

    for headers in ({}, {"X-Another": "field"}):
        again = post(report("sent"), age=300, headers=headers)
        assert refused(again) == (403, "callback-duplicate")
    assert sent_row(app).updated_at == before
    assert remembered(app) == 1


def test_replay_in_another_spelling_is_refused(app: OpenAPI, post: Post, clock: Clock) -> None:
    """What is not signed, such as a second signature in the list, makes no other report of it."""
    post(report("sent"))
    body = json.dumps(report("sent")).encode()
    right = signature(SECRET, "evt-1", int(clock.now.timestamp()), body)

    for spelling in (f"v1,AAAA {right}", f"{right}  {right}", f" {right} "):
        again = post(report("sent"), headers={"webhook-signature": spelling})
        assert refused(again) == (403, "callback-duplicate")


def test_replay_under_the_other_secret_is_refused(app: OpenAPI, post: Post) -> None:
    """A report that both secrets signed is one report."""
    assert post(report("sent"), secret=OLD_SECRET).status_code == 204
    assert refused(post(report("sent"))) == (403, "callback-duplicate")


def test_replay_after_its_time_is_stale(app: OpenAPI, post: Post, clock: Clock) -> None:
    """A report is remembered for longer than it is good for."""
    post(report("sent"))
    clock.advance(days=30, seconds=1)
    app.extensions["kith"].maintenance.run()

    assert remembered(app) == 0
    assert refused(post(report("sent"), age=30 * 86_400 + 1)) == (403, "callback-expired")


def test_replay_to_a_clock_that_jumped_back_is_refused(
    app: OpenAPI, post: Post, clock: Clock
) -> None:
    """A clock that is set back makes an old report fresh, and not new."""
    post(report("sent"))
    clock.advance(hours=2)
    app.extensions["kith"].maintenance.run()
    clock.advance(hours=-2)

    assert refused(post(report("sent"))) == (403, "callback-duplicate")


def test_a_repeat_that_is_signed_anew_is_taken(app: OpenAPI, post: Post, clock: Clock) -> None:
    """A sender that lost the answer repeats its event at a new time, and is told it was taken."""
    post(report("delivered"))
    before = sent_row(app).updated_at
    clock.advance(5)

    assert post(report("delivered")).status_code == 204
    assert sent_row(app).updated_at == before
    metrics = app.extensions["kith"].runtime.metrics.render().decode()
    assert 'kith_deliveries_total{provider="webhook",status="delivered"} 1.0' in metrics


def test_replay_of_a_report_on_nothing_is_refused(app: OpenAPI, post: Post) -> None:
    """A report on a send that is gone is taken once, or the sender would repeat it, and no more."""
    gone = report(reference="A" * 43)

    assert post(gone).status_code == 204
    assert refused(post(gone)) == (403, "callback-duplicate")
    assert sent_row(app).status == "queued"


@pytest.mark.parametrize("age", [300, -300])
def test_report_at_the_edge_of_its_time_is_taken(app: OpenAPI, post: Post, age: int) -> None:
    """Clocks may be five minutes apart."""
    assert post(report(), age=age).status_code == 204
    assert sent_row(app).status == "delivered"


@pytest.mark.parametrize("age", [301, -301, 86_400, -86_400])
def test_stale_report_changes_nothing(app: OpenAPI, post: Post, age: int) -> None:
    """A report of another time, past or future, is refused whoever signed it."""
    assert refused(post(report(), age=age)) == (403, "callback-expired")
    assert (sent_row(app).status, remembered(app)) == ("queued", 0)


@pytest.mark.parametrize("timestamp", ["0", "99999999999", "253402300800"])
def test_moments_of_another_age_are_refused(app: OpenAPI, post: Post, timestamp: str) -> None:
    """A timestamp that is no time of this century is refused as any other is."""
    body = json.dumps(report()).encode()
    headers = {
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(SECRET, "evt-1", timestamp, body),
    }

    answer = post(report(), headers=headers)

    assert answer.status_code == 403
    assert problem_code(answer) in ("callback-expired", "callback-signature-invalid")
    assert sent_row(app).status == "queued"


def test_previous_secret_is_accepted(app: OpenAPI, post: Post) -> None:
    """While the secret is rotated, both sign."""
    assert post(report("sent"), secret=OLD_SECRET).status_code == 204
    assert post(report("delivered"), secret=SECRET).status_code == 204
    assert sent_row(app).status == "delivered"


OTHER_SECRET = "whsec_" + "A" * 32


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": OTHER_SECRET},
        {"secret": "whsec_"},
        {"signed": json.dumps(report("failed")).encode()},
        {"signed": json.dumps(report("delivered")).encode() + b" "},
        {"signed": b""},
        {"headers": {"webhook-id": "evt-2"}},
        {"headers": {"webhook-id": ""}},
        {"headers": {"webhook-timestamp": "1772366401"}},
        {"headers": {"webhook-timestamp": "now"}},
        {"headers": {"webhook-signature": ""}},
        {"headers": {"webhook-signature": "v1,"}},
        {"headers": {"webhook-signature": "é"}},
        {"headers": {"webhook-signature": "v1,AAAA " * 500}},
    ],
    ids=str,
)
def test_forged_report_changes_nothing(app: OpenAPI, post: Post, changed: dict[str, Any]) -> None:
    """A signature of another secret, body, id or moment is refused."""
    assert refused(post(report(), **changed)) == (403, "callback-signature-invalid")
    assert (sent_row(app).status, remembered(app)) == ("queued", 0)


def test_unsigned_report_changes_nothing(app: OpenAPI) -> None:
    """Without the three fields there is nothing to verify, whatever the body is."""
    client = app.test_client()
    for request in ({"json": report()}, {"data": b"\x00"}, {}, {"data": {"a": "b"}}):
        assert refused(client.post(PATH, **request)) == (403, "callback-signature-invalid")
    assert sent_row(app).status == "queued"


def test_our_own_message_is_no_report(
    make_webhook_app: MakeApp, sender: FakeSender, clock: Clock
) -> None:
    """What was signed for the sender cannot be turned against the service."""
    app = make_webhook_app()
    assert start(app).status_code == 201
    [posted] = sender.received
    fields = {name: posted.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")}

    answer = app.test_client().post(
        PATH,
        data=posted.body,
        headers={f"webhook-{name}": value for name, value in fields.items()}
        | {"Content-Type": "application/json"},
    )

    assert refused(answer) == (422, "invalid-fields")
    assert sent_row(app).status == "sent"


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        "text",
        {"status": "delivered"},
        {"reference": REFERENCE},
        report("queued"),
        report("unknown"),
        report("Delivered"),
        report("delivered\x00"),
        report(extra=1),
        report(id=""),
        report(id=7),
        report(id="a b"),
        report(id="\x00"),
        report(id="i" * 65),
        report(error_code=""),
        report(error_code="+4915112345678"),
        report(error_code="e" * 33),
        report(error_code=30003),
        report(reference="A" * 42),
        report(reference="A" * 44),
        report(reference="A" * 42 + "B"),
        report(reference="A" * 42 + "="),
        report(reference="A" * 42 + "\n"),
        report(reference="é" * 43),
        report(reference=None),
    ],
    ids=repr,
)
def test_signed_rubbish_changes_nothing(app: OpenAPI, post: Post, document: Any) -> None:
    """A report that says something else than a report says is refused, and may be mended."""
    assert refused(post(document)) == (422, "invalid-fields")
    assert (sent_row(app).status, remembered(app)) == ("queued", 0)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 4000, b"\x00" * 100])
def test_signed_bytes_that_are_no_json(app: OpenAPI, post: Post, body: bytes) -> None:
    """What cannot be read is refused as such."""
    assert refused(post(body)) == (400, "malformed-request")


def test_signed_form_is_refused(app: OpenAPI, post: Post) -> None:
    """A report is JSON and nothing else."""
    answer = post(report(), headers={"Content-Type": "text/plain"})

    assert refused(answer) == (415, "unsupported-media-type")
    assert sent_row(app).status == "queued"


def test_large_report_is_refused(app: OpenAPI, post: Post) -> None:
    """A body over its limit is refused before it is read, signed or not."""
    body = json.dumps(report()).encode().ljust(4097)

    assert refused(post(body)) == (413, "body-too-large")
    assert refused(post(body, secret=OTHER_SECRET)) == (413, "body-too-large")
    assert post(body[:4096]).status_code == 204


def test_large_report_in_chunks_is_refused(app: OpenAPI) -> None:
    """A body that does not say how long it is gets no further."""
    answer = app.test_client().post(
        PATH,
        input_stream=io.BytesIO(b" " * 4098),
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert refused(answer) == (413, "body-too-large")


def test_report_on_another_providers_send_changes_nothing(
    make_webhook_app: MakeApp, clock: Clock
) -> None:
    """The sender reports on what it was given, and on nothing else."""
    app = make_webhook_app()
    queue(app)
    with app.extensions["kith"].runtime.database.write() as connection:
        connection.execute(update(Send).values(provider="outbox"))

    assert deliver(app, report(), clock=clock).status_code == 204
    assert sent_row(app).status == "queued"


def test_nobody_reports_without_a_secret(make_app: MakeApp, clock: Clock) -> None:
    """With another provider there is no secret to sign with, so every report is forged."""
    app = make_app()
    queue(app)

    for secret in ("whsec_", SECRET):
        assert refused(deliver(app, report(), clock=clock, secret=secret)) == (
            403,
            "callback-signature-invalid",
        )
    assert (sent_row(app).status, remembered(app)) == ("queued", 0)


def start(app: OpenAPI) -> TestResponse:
    """Start a verification."""
    return app.test_client().post("/v1/verifications", json={"phone_number": NUMBER})


def call_back(app: OpenAPI, request: Received, clock: Clock, status: str) -> TestResponse:
    """Report on a message by the reference that came with it."""
    document = {"reference": request.document["reference"], "status": status, "id": "m-9"}
    return deliver(app, document, clock=clock, name=f"evt-{status}")


def test_whole_way_of_a_text(make_webhook_app: MakeApp, sender: FakeSender, clock: Clock) -> None:
    """A verification's text is handed to the sender, and its report finds the way back."""
    app = make_webhook_app()

    assert start(app).status_code == 201
    assert sent_row(app).status == "sent"
    assert call_back(app, sender.received[0], clock, "delivered").status_code == 204
    row = sent_row(app)
    assert (row.status, row.provider_message_id) == ("delivered", "m-1")


def test_lost_answer_is_settled_by_the_report(
    make_webhook_app: MakeApp, sender: FakeSender, clock: Clock
) -> None:
    """A verification goes on when the answer is lost: unknown, posted once, then delivered."""
    app = make_webhook_app()
    sender.next(Answer(drop=True))

    assert start(app).status_code == 201
    assert (len(sender.received), sent_row(app).status) == (1, "unknown")
    assert call_back(app, sender.received[0], clock, "delivered").status_code == 204
    row = sent_row(app)
    assert (row.status, row.provider_message_id) == ("delivered", "m-9")


def test_report_overtakes_the_answer(
    make_webhook_app: MakeApp, sender: FakeSender, clock: Clock
) -> None:
    """A report that comes before the sender's own answer is not undone by it."""
    app = make_webhook_app()
    statuses: list[int] = []
    sender.before_answer = lambda request: statuses.append(
        call_back(app, request, clock, "delivered").status_code
    )

    assert start(app).status_code == 201
    assert statuses == [204]
    assert sent_row(app).status == "delivered"


def test_what_is_remembered_lies_with_the_send(app: OpenAPI, post: Post) -> None:
    """A report is remembered on the shard of the number that it is about."""
    post(report())

    with app.extensions["kith"].runtime.database.read() as connection:
        assert [bytes(one) for one in connection.scalars(select(TakenReport.number_digest))] == [
            DIGEST
        ]
