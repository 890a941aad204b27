"""Delivery reports from Twilio: signed, at most once, in any order."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from flask_openapi3 import OpenAPI
from twilio.request_validator import RequestValidator
from werkzeug.test import TestResponse

from sms.delivery import Outcome
from tests.conftest import NUMBER, MakeApp, problem_code
from tests.contract.fake_http import Answer, Received
from tests.contract.fake_twilio import ACCOUNT_SID, AUTH_TOKEN, FakeTwilio
from tests.contract.one_send import REFERENCE, queue, sent_row

PUBLIC_URL = "https://id.example.com"
OLD_TOKEN = "0ldt0ken" * 4
SID = "SM" + "a" * 32

Post = Callable[..., TestResponse]


@pytest.fixture
def make_twilio_app(make_app: MakeApp, twilio: FakeTwilio) -> MakeApp:
    """Make applications that send through the fake."""

    def make(**settings: Any) -> OpenAPI:
        return make_app(
            **{
                "sms_provider": "twilio",
                "twilio_account_sid": ACCOUNT_SID,
                "twilio_auth_token": AUTH_TOKEN,
                "twilio_auth_token_previous": OLD_TOKEN,
                "twilio_from": "+15005550006",
                "twilio_api_url": twilio.url,
                "public_url": PUBLIC_URL,
            }
            | settings
        )

    return make


@pytest.fixture
def app(make_twilio_app: MakeApp) -> OpenAPI:
    """An application that sends through Twilio, and has queued one text."""
    app = make_twilio_app()
    queue(app)
    return app


def report(status: str = "delivered", **fields: str) -> dict[str, str]:
    """Write a report on a text as Twilio does."""
    return {
        "AccountSid": ACCOUNT_SID,
        "ApiVersion": "2010-04-01",
        "From": "+15005550006",
        "MessageSid": SID,
        "MessageStatus": status,
        "SmsSid": SID,
        "SmsStatus": status,
        "To": NUMBER,
    } | fields


@pytest.fixture
def post(app: OpenAPI) -> Post:
    """Post a report, signed as Twilio signs unless the test says otherwise."""
    return lambda form, **changed: deliver(app, form, **changed)


def deliver(
    app: OpenAPI,
    form: dict[str, str],
    *,
    name: str | None = None,
    token: str = AUTH_TOKEN,
    url: str = PUBLIC_URL,
    query: str = "",
    signed_form: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> TestResponse:
    """Sign a report over `url` and `signed_form`, and post `form`."""
    path = f"/v1/callbacks/twilio/{name or REFERENCE}{query}"
    signature = RequestValidator(token).compute_signature(url + path, signed_form or form)
    return app.test_client().post(
        path, data=form, headers={"X-Twilio-Signature": signature} | (headers or {})
    )


def test_report_is_taken(app: OpenAPI, post: Post) -> None:
    """A signed report settles the send, with Twilio's id and error code."""
    answer = post(report("undelivered", ErrorCode="30003"))

    assert (answer.status_code, answer.data) == (204, b"")
    row = sent_row(app)
    assert (row.status, row.provider_message_id, row.error_code) == ("undelivered", SID, "30003")


@pytest.mark.parametrize(
    ("field", "word", "expected"),
    [
        ("MessageStatus", "queued", "sent"),
        ("MessageStatus", "accepted", "sent"),
        ("MessageStatus", "scheduled", "sent"),
        ("MessageStatus", "sending", "sent"),
        ("MessageStatus", "sent", "sent"),
        ("MessageStatus", "delivered", "delivered"),
        ("MessageStatus", "undelivered", "undelivered"),
        ("MessageStatus", "failed", "failed"),
        ("MessageStatus", "canceled", "failed"),
        ("MessageStatus", "unheard-of", "queued"),
        ("MessageStatus", "", "queued"),
        ("CallStatus", "queued", "sent"),
        ("CallStatus", "initiated", "sent"),
        ("CallStatus", "ringing", "sent"),
        ("CallStatus", "in-progress", "sent"),
        ("CallStatus", "completed", "delivered"),
        ("CallStatus", "busy", "undelivered"),
        ("CallStatus", "no-answer", "undelivered"),
        ("CallStatus", "failed", "failed"),
        ("CallStatus", "canceled", "failed"),
    ],
)
def test_statuses(app: OpenAPI, post: Post, field: str, word: str, expected: str) -> None:
    """Each of Twilio's words means one of ours, or nothing."""
    sid = "MessageSid" if field == "MessageStatus" else "CallSid"

    answer = post({"AccountSid": ACCOUNT_SID, sid: SID, field: word})

    assert answer.status_code == 204
    assert sent_row(app).status == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sent", "delivered"], "delivered"),
        (["delivered", "delivered"], "delivered"),
        (["delivered", "sent"], "delivered"),
        (["delivered", "queued"], "delivered"),
        (["delivered", "failed"], "delivered"),
        (["undelivered", "sent", "sent"], "undelivered"),
        (["failed", "delivered"], "failed"),
        (["failed", "sent", "failed"], "failed"),
        (["sent", "sending", "sent"], "sent"),
    ],
)
def test_duplicates_and_reordering_are_harmless(
    app: OpenAPI, post: Post, words: list[str], expected: str
) -> None:
    """What is final stays, what is late changes nothing, and what is repeated is told so."""
    statuses = [post(report(word)).status_code for word in words]

    assert statuses == [403 if word in words[:n] else 204 for n, word in enumerate(words)]
    assert sent_row(app).status == expected


def test_repeated_report_is_counted_once(app: OpenAPI, post: Post) -> None:
    """The very same report is refused, and metrics count deliveries, not reports of them."""
    answers = [post(report("delivered")) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [204, 403, 403]
    assert problem_code(answers[1]) == "callback-duplicate"

    metrics = app.extensions["kith"].runtime.metrics.render().decode()
    assert 'kith_deliveries_total{provider="twilio",status="delivered"} 1.0' in metrics


@pytest.mark.parametrize("word", ["sent", "delivered", "undelivered", "failed"])
def test_unknown_becomes_known(make_twilio_app: MakeApp, word: str) -> None:
    """A send whose answer was lost is settled by its report, with Twilio's id of it."""
    app = make_twilio_app()
    queue(app, Outcome("unknown", error_code="read-timeout"))

    answer = deliver(app, report(word))

    assert answer.status_code == 204
    row = sent_row(app)
    assert (row.status, row.provider_message_id) == (word, SID)


def test_previous_token_is_accepted(app: OpenAPI, post: Post) -> None:
    """While the auth token is rotated, both sign."""
    assert post(report("sent"), token=OLD_TOKEN).status_code == 204
    assert post(report("delivered"), token=AUTH_TOKEN).status_code == 204
    assert sent_row(app).status == "delivered"


def test_query_is_part_of_what_is_signed(app: OpenAPI, post: Post) -> None:
    """A query string that Twilio adds is signed with the rest."""
    assert post(report(), query="?bodySHA256=0&x=%2B").status_code == 204
    assert sent_row(app).status == "delivered"


@pytest.mark.parametrize(
    "changed",
    [
        {"token": "another"},
        {"url": "https://evil.example"},
        {"url": "http://id.example.com"},
        {"url": "http://localhost"},
        {"signed_form": report("sent")},
        {"signed_form": report() | {"Extra": "1"}},
        {"headers": {"X-Twilio-Signature": ""}},
        {"headers": {"X-Twilio-Signature": "é" * 28}},
        {"headers": {"X-Twilio-Signature": "A" * 28}},
    ],
    ids=str,
)
def test_forged_report_changes_nothing(app: OpenAPI, post: Post, changed: dict[str, Any]) -> None:
    """A signature of another secret, address or form is refused."""
    answer = post(report(), **changed)

    assert (answer.status_code, problem_code(answer)) == (403, "callback-signature-invalid")
    assert sent_row(app).status == "queued"


def test_missing_signature_changes_nothing(app: OpenAPI) -> None:
    """A report without a signature is refused."""
    answer = app.test_client().post(f"/v1/callbacks/twilio/{REFERENCE}", data=report())

    assert (answer.status_code, problem_code(answer)) == (403, "callback-signature-invalid")
    assert sent_row(app).status == "queued"


def test_host_header_is_not_believed(app: OpenAPI, post: Post) -> None:
    """Who signs for another host cannot make it ours by naming it in the request."""
    evil = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
    }

    assert post(report(), url="https://evil.example", headers=evil).status_code == 403
    assert post(report(), headers=evil).status_code == 204
    assert sent_row(app).status == "delivered"


@pytest.mark.parametrize("account", ["AC" + "f" * 32, "", ACCOUNT_SID.upper()])
def test_other_account_changes_nothing(app: OpenAPI, post: Post, account: str) -> None:
    """A report on another account's message is refused even if it is signed."""
    answer = post(report(AccountSid=account))

    assert (answer.status_code, problem_code(answer)) == (403, "callback-signature-invalid")
    assert sent_row(app).status == "queued"


@pytest.mark.parametrize(
    "name", ["x", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "+", "é" * 43]
)
def test_malformed_reference_changes_nothing(app: OpenAPI, post: Post, name: str) -> None:
    """A reference that cannot be one of ours is refused like a forged report."""
    answer = post(report(), name=name)

    assert (answer.status_code, problem_code(answer)) == (403, "callback-signature-invalid")
    assert sent_row(app).status == "queued"


def test_report_on_an_unknown_send_is_taken(app: OpenAPI, post: Post) -> None:
    """A report on a send that was purged is accepted, or Twilio would repeat it."""
    assert post(report(), name="A" * 43).status_code == 204
    assert sent_row(app).status == "queued"


@pytest.mark.parametrize(
    "fields",
    [
        {"MessageSid": "S" * 65, "ErrorCode": "9" * 33},
        {"MessageSid": "SM\x00", "ErrorCode": "30003\x00"},
        {"MessageSid": "", "ErrorCode": ""},
    ],
)
def test_odd_fields_are_left_out(app: OpenAPI, post: Post, fields: dict[str, str]) -> None:
    """Ids and codes that do not look like any are not stored; the status is."""
    assert post(report(**fields)).status_code == 204

    row = sent_row(app)
    assert (row.status, row.provider_message_id, row.error_code) == ("delivered", None, None)


def test_large_report_is_refused(app: OpenAPI, post: Post) -> None:
    """A form over its limit is refused before it is read."""
    answer = post(report(Body="x" * 20_000))

    assert (answer.status_code, problem_code(answer)) == (413, "body-too-large")
    assert sent_row(app).status == "queued"


def test_report_of_many_fields_is_refused(app: OpenAPI, post: Post) -> None:
    """A form of more fields than Twilio has is refused before its signature is computed."""
    answer = post(report() | {f"f{i}": "" for i in range(100)})

    assert (answer.status_code, problem_code(answer)) == (400, "malformed-request")
    assert sent_row(app).status == "queued"


@pytest.mark.parametrize(
    "request_fields",
    [
        {"json": {"AccountSid": ACCOUNT_SID}},
        {"data": b"\xff\x00=%zz&&==", "content_type": "application/x-www-form-urlencoded"},
        {"data": b"", "content_type": "multipart/form-data; boundary=x"},
        {"data": b"--x\r\n", "content_type": "multipart/form-data"},
    ],
)
def test_rubbish_is_refused(app: OpenAPI, request_fields: dict[str, Any]) -> None:
    """A body that is no report is refused, whatever it is."""
    answer = app.test_client().post(
        f"/v1/callbacks/twilio/{REFERENCE}",
        headers={"X-Twilio-Signature": "A" * 28},
        **request_fields,
    )

    assert (answer.status_code, problem_code(answer)) == (403, "callback-signature-invalid")


def test_nobody_reports_without_twilio(make_app: MakeApp) -> None:
    """With another provider there is no token to sign with, so every report is forged."""
    app = make_app(public_url=PUBLIC_URL)
    queue(app)

    for token in ("", "None", AUTH_TOKEN):
        answer = deliver(app, report(), token=token)
        assert (answer.status_code, problem_code(answer)) == (403, "callback-signature-invalid")
    assert sent_row(app).status == "queued"


def call_back(app: OpenAPI, request: Received, form: dict[str, str]) -> TestResponse:
    """Report on a send at the very address that came with it."""
    address = request.form["StatusCallback"][0]
    signature = RequestValidator(AUTH_TOKEN).compute_signature(address, form)
    return app.test_client().post(
        address.removeprefix(PUBLIC_URL),
        data=urlencode(form),
        content_type="application/x-www-form-urlencoded",
        headers={"X-Twilio-Signature": signature},
    )


def start(app: OpenAPI) -> TestResponse:
    """Start a verification."""
    return app.test_client().post("/v1/verifications", json={"phone_number": NUMBER})


def test_whole_way_of_a_text(make_twilio_app: MakeApp, twilio: FakeTwilio) -> None:
    """A verification's text is handed to Twilio, and its report finds the way back."""
    app = make_twilio_app()

    assert start(app).status_code == 201
    assert sent_row(app).status == "sent"
    assert call_back(app, twilio.received[0], report("delivered")).status_code == 204
    row = sent_row(app)
    assert (row.status, row.provider_message_id) == ("delivered", f"SM{1:032x}")


def test_lost_answer_is_settled_by_the_report(make_twilio_app: MakeApp, twilio: FakeTwilio) -> None:
    """A verification goes on when Twilio's answer is lost: unknown, sent once, then delivered."""
    app = make_twilio_app()
    twilio.next(Answer(drop=True))

    assert start(app).status_code == 201
    assert (len(twilio.received), sent_row(app).status) == (1, "unknown")
    assert call_back(app, twilio.received[0], report("delivered")).status_code == 204
    row = sent_row(app)
    assert (row.status, row.provider_message_id) == ("delivered", SID)


def test_report_overtakes_the_answer(make_twilio_app: MakeApp, twilio: FakeTwilio) -> None:
    """A report that comes before Twilio's own answer is not undone by it."""
    app = make_twilio_app()
    statuses: list[int] = []
    twilio.before_answer = lambda request: statuses.append(
        call_back(app, request, report("delivered")).status_code
    )

    assert start(app).status_code == 201
    assert statuses == [204]
    assert sent_row(app).status == "delivered"
