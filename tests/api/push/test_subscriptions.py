"""A device says where it is woken: one place, of a type that is offered, and never one inside."""

from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from messaging.push.schemas import PushSubscriptionBody
from tests.api.messages.conftest import pointers
from tests.conftest import problem_code
from tests.contract.fake_push import Browser, decode, encode
from tokens.devices import Caller
from tokens.problems import TokenInvalid

PATH = "/v1/push-subscription"
FCM = {"type": "fcm", "token": "registration:token-1_2"}
BROWSER = Browser("https://push.example.com/one")


@pytest.fixture
def names():
    """What the test's DNS says; other hosts have a public address."""
    return {}


@pytest.fixture
def in_production(make_app, names):
    """A client of an application in production, whose registered people are those of the other one."""
    app = make_app(
        ports={"resolver": lambda host: names.get(host, ["93.184.215.14"])},
        environment="production",
        secret_key="k" * 32,
        sms_provider="twilio",
        twilio_account_sid="AC" + "0" * 32,
        twilio_auth_token="t" * 32,
        twilio_from="+15005550006",
        public_url="https://id.example.com",
        push=("webpush",),
        vapid_private_key=encode(b"\x01" * 32),
        vapid_subject="mailto:ops@example.com",
    )
    return app.test_client()


@pytest.fixture
def put(client, ben):
    """Put a subscription of Ben's device."""

    def put(body, through=client):
        return through.put(PATH, json=body, headers=ben.headers)

    return put


def test_what_there_is_inside_is_not_told(put, in_production, names) -> None:
    """A name that leads inside and one that leads nowhere are refused in the same words."""
    names |= {"db.internal": ["10.0.0.7"], "none.internal": []}
    inside, nowhere = (
        put(BROWSER.subscription(endpoint=f"https://{host}/"), in_production).json
        for host in ("db.internal", "none.internal")
    )
    assert inside["errors"] == nowhere["errors"]
    assert (inside["status"], inside["detail"]) == (nowhere["status"], nowhere["detail"])


def test_a_device_has_one_subscription(client, ben, put, rows) -> None:
    """What it puts takes the place of what it put before; the address is not told again."""
    for name in ("one", "two"):
        assert put(Browser(f"http://127.0.0.1:1/{name}").subscription()).status_code == 204

    assert [row.address for row in rows()] == ["http://127.0.0.1:1/two"]
    assert client.get(PATH, headers=ben.headers).json == {"type": "webpush"}


def test_deleting_it_twice_is_deleting_it(client, ben, put, browser, rows) -> None:
    """The second time changes nothing."""
    put(browser.subscription())
    for _ in range(2):
        assert client.delete(PATH, headers=ben.headers).status_code == 204

    assert rows() == []
    answer = client.get(PATH, headers=ben.headers)
    assert (answer.status_code, problem_code(answer)) == (404, "push-subscription-not-found")


def test_a_device_that_is_removed_leaves_none(client, ben, put, browser, link, rows) -> None:
    """Its subscription goes with it."""
    other = link(ben)
    client.put(PATH, json=browser.subscription(), headers=other.headers)
    put(browser.subscription())
    assert len(rows()) == 2
    assert client.delete(f"/v1/devices/{other.device_id}", headers=ben.headers).status_code == 204
    assert [str(row.device_id) for row in rows()] == [ben.device_id]
    assert client.delete("/v1/account", headers=ben.headers).status_code == 204
    assert rows() == []


def test_a_device_that_is_removed_meanwhile_leaves_none(app, rows, browser) -> None:
    """It was authenticated just before; nothing would ever delete what it put."""
    body = PushSubscriptionBody.model_validate(browser.subscription())
    with pytest.raises(TokenInvalid):
        app.extensions["kith"].messaging.push.service.put(Caller(uuid4(), uuid4(), b""), body)
    assert rows() == []


def test_parameters_name_what_is_offered(client, make_app, ben) -> None:
    """The webhook is nothing to subscribe to; without any way there is no key either."""
    path = f"{PATH}/parameters"
    answer = client.get(path, headers=ben.headers).json
    assert answer["types"] == ["webpush"]
    point = decode(answer["vapid_public_key"])
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    silent = make_app().test_client().get(path, headers=ben.headers)
    assert silent.json == {"types": [], "vapid_public_key": None}


def test_the_generated_key_stays(client, make_app, ben) -> None:
    """Whoever subscribed under it is woken by the next process too."""
    path = f"{PATH}/parameters"
    again = make_app(push=("webpush",)).test_client()
    assert again.get(path, headers=ben.headers).json == client.get(path, headers=ben.headers).json


def test_a_type_that_is_not_offered_is_refused(put) -> None:
    """The detail says what is."""
    answer = put(FCM)
    assert (answer.status_code, problem_code(answer)) == (422, "push-type-not-offered")
    assert "webpush" in answer.json["detail"]


NOT_ON_THE_CURVE = encode(b"\x04" + b"\x01" * 64)
COMPRESSED = encode(
    BROWSER.key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"p256dh": NOT_ON_THE_CURVE}, "/p256dh"),
        ({"p256dh": COMPRESSED}, "/p256dh"),
        ({"p256dh": "not base64 at all"}, "/p256dh"),
        ({"auth": encode(b"x" * 15)}, "/auth"),
        ({"auth": encode(b"x" * 17)}, "/auth"),
        ({"endpoint": "https://push.example.com/" + "x" * 2048}, "/endpoint"),
        ({"endpoint": "ftp://push.example.com/"}, "/endpoint"),
        ({"endpoint": "https://push.example.com/\r\nX: y"}, "/endpoint"),
        ({"endpoint": "https://user:secret@push.example.com/"}, "/endpoint"),
        ({"endpoint": "https://push.example.com:99999/"}, "/endpoint"),
        ({"endpoint": "https://[::1/"}, "/endpoint"),
        ({"endpoint": "https:///path"}, "/endpoint"),
        ({"token": "abc"}, ""),
        ({"endpoint": None}, ""),
        ({"type": "smoke"}, "/type"),
        ({"extra": 1}, "/extra"),
    ],
)
def test_what_is_no_subscription_is_refused(put, rows, changes, pointer) -> None:
    """Keys that are none, addresses that are none, fields of another type."""
    answer = put(BROWSER.subscription(**changes))
    assert pointers(answer) == [pointer]
    assert rows() == []


@pytest.mark.parametrize("token", ["", "x" * 1025, "a/b", "a?b", "a b", "ä"])
def test_a_token_that_could_change_a_request_is_refused(put, token) -> None:
    """It becomes part of an address at APNs."""
    assert pointers(put({"type": "apns", "token": token})) == ["/token"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://push.example.com/one",
        "https://127.0.0.1/one",
        "https://10.0.0.8/one",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/one",
        "https://[::1]/one",
        "https://[fe80::1]/one",
        "https://[fd00::1]/one",
        "https://[::ffff:127.0.0.1]/one",
        "https://[64:ff9b::7f00:1]/one",
        "https://0.0.0.0/one",
        "https://inside.example.com/one",
        "https://nowhere.example.com/one",
        "https://push.example.com:8443/one",
        "https://push.example.com:22/one",
        "https://168.63.129.16/one",
    ],
)
def test_in_production_an_endpoint_is_public_and_https(put, in_production, names, endpoint) -> None:
    """Neither an address inside nor a name that leads there, nor in clear, nor at another port."""
    names |= {"inside.example.com": ["10.0.0.8"], "nowhere.example.com": []}
    assert pointers(put(BROWSER.subscription(endpoint=endpoint), in_production)) == ["/endpoint"]


def test_in_production_a_public_endpoint_is_taken(put, in_production) -> None:
    """As browsers give it."""
    assert put(BROWSER.subscription(), in_production).status_code == 204
