"""The calls about push subscriptions send what the API takes and return what it answers."""

from kith import Kith, PushParameters, PushSubscription
from tests.unit.kith.canned import Script, ok, problem

PATH = "/v1/push-subscription"


def test_parameters_are_typed(client: Kith, script: Script) -> None:
    """Types and the key for browsers, which is missing where there is no Web Push."""
    script.on(
        f"GET {PATH}/parameters",
        ok({"types": ["webpush", "fcm"], "vapid_public_key": "BKey"}),
        ok({"types": [], "vapid_public_key": None}),
    )

    assert client.push_parameters() == PushParameters(("webpush", "fcm"), "BKey")
    assert client.push_parameters() == PushParameters((), None)


def test_each_type_is_put_with_its_fields(client: Kith, script: Script) -> None:
    """Bytes cross the wire as base64url without padding."""
    script.on(f"PUT {PATH}", ok())

    client.subscribe_web_push("https://push.example/1", p256dh=b"\x04" * 65, auth=b"\xff" * 16)
    client.subscribe_apns("0a1b")
    client.subscribe_fcm("registration:token")

    assert script.bodies(f"PUT {PATH}") == [
        {
            "type": "webpush",
            "endpoint": "https://push.example/1",
            "p256dh": "BAQE" * 21 + "BAQ",
            "auth": "_____________________w",
        },
        {"type": "apns", "token": "0a1b"},
        {"type": "fcm", "token": "registration:token"},
    ]


def test_no_subscription_is_none(client: Kith, script: Script) -> None:
    """A device that is not woken is nothing that went wrong."""
    script.on(f"GET {PATH}", ok({"type": "apns"}), problem("push-subscription-not-found", 404))

    assert client.push_subscription() == PushSubscription("apns")
    assert client.push_subscription() is None


def test_it_is_deleted(client: Kith, script: Script) -> None:
    """One request, with nothing in it."""
    script.on(f"DELETE {PATH}", ok())

    client.delete_push_subscription()

    assert len(script.sent(f"DELETE {PATH}")) == 1
