"""Mailboxes as a state machine over HTTP and sockets, held against a model of what docs/messaging.md says."""

import base64
from collections import defaultdict
from collections.abc import Callable
from ipaddress import IPv4Address
from itertools import count
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from app import Kith
from messaging.message_types import CloseCode
from tests.conftest import Clock, MakeApp, Person, problem_code
from tests.contract.openapi import ContractClient
from tests.device_keys import DeviceKeys
from tests.property.ears import Ear
from tests.property.mailbox_model import Device, Document, Model
from tests.serving import served
from tests.sockets import JSON, MSGPACK

#: Two of the larger contents fill half of a mailbox exactly, and so do four of the smaller ones.
ROOM, ROOM_BYTES = 8, 48
CONTENTS = ["A" * 4, "B" * 16]
MAX_DEVICES = 3
#: Of keys that nobody has.
STALE = 7
#: Few and long: after its first ten examples Hypothesis tries variations of them, most of which are
#: almost the same run again.
EXAMPLES, STEPS = 10, 120
#: Each run has people of its own, so that no limit and no contact of one is felt in the next.
RUNS = count()
ADDRESSES = count()

WHICH = st.integers(0, 2 * MAX_DEVICES - 1)
CONTENT = st.sampled_from(CONTENTS)
#: What people may do: a method and what it takes. They write and read more than they do anything else.
ACTS: list[tuple[str, *tuple[st.SearchStrategy[Any], ...]]] = [
    *[
        (
            "send",
            WHICH,
            st.sampled_from([1, 1, 1, 0]),
            st.lists(CONTENT, min_size=1, max_size=3),
            st.sampled_from([172_800, 3600, 60]),
            st.sampled_from([*[None] * 9, "missing", "extra", "stale"]),
            WHICH,
            st.booleans(),
        )
    ]
    * 4,
    *[("acknowledge", WHICH, st.sampled_from([0, 0, 0, -1, 1, 2, 3]), st.booleans())] * 3,
    *[("send_again", WHICH, st.booleans())] * 2,
    ("reuse_client_id", WHICH, CONTENT, st.booleans()),
    *[("open", WHICH, st.sampled_from([JSON, MSGPACK]))] * 3,
    ("drop", WHICH),
    ("fetch", WHICH, st.integers(1, 3), st.booleans()),
    ("link", WHICH),
    ("revoke", WHICH, WHICH),
    ("register_again", st.integers(0, 1)),
    ("publish", WHICH, st.sampled_from([8, 9])),
    ("judge", WHICH, st.sampled_from(["accepted", "blocked", None])),
    *[("advance", st.sampled_from([1, 59, 60, 3600, 86_400]), st.booleans())] * 2,
]


class Machine(RuleBasedStateMachine):
    """What two people may do with their devices, in any order."""

    client: ContractClient
    address: tuple[str, int]
    clock: Clock
    kith: Kith
    register: Callable[[str], Person]

    def __init__(self) -> None:
        super().__init__()
        run = next(RUNS)
        self.numbers = [f"+49151{run:04d}{n:04d}" for n in (1111, 2222)]
        self.model = Model(ROOM, ROOM_BYTES)
        self.names = count()
        #: All that was sent, whatever came of it.
        self.letters: list[tuple[Device, Document]] = []
        self.keys = defaultdict[Device, DeviceKeys](DeviceKeys)
        self.ears: dict[Device, Ear] = {}
        self.people = [self._register(number).account for number in self.numbers]

    def _register(self, number: str) -> Device:
        # An address that nobody has used, so that no limit on texts is met.
        self.client.environ_base["REMOTE_ADDR"] = str(IPv4Address("10.0.0.0") + next(ADDRESSES))
        person = type(self).register(number)
        return self._add(person.account_id, person.device_id, person.token)

    def _add(self, account_id: str, device_id: str, token: str) -> Device:
        device = Device(account_id, device_id, {"Authorization": f"Bearer {token}"})
        self.model.devices.append(device)
        return device

    def _ask(self, device: Device, method: str, path: str, **request: Any) -> Any:
        return self.client.open(path, method=method, headers=device.headers, **request)

    def _one(self, which: int) -> Device:
        """Give one of the devices there are; first those for which the most waits."""
        here = sorted(self.model.here(), key=lambda device: -len(device.waiting))
        return here[which % len(here)]

    # One rule and not one each: Hypothesis leaves most rules of a machine out of most runs, and a
    # test over HTTP has no time for so many that all combinations come up.
    @rule(act=st.one_of(*(st.tuples(st.just(name), *taken) for name, *taken in ACTS)))
    def act(self, act: tuple[Any, ...]) -> None:
        """Somebody does something."""
        name, *how = act
        getattr(self, name)(*how)

    def send(
        self,
        which: int,
        other: int,
        contents: list[str],
        expires_in: int,
        fault: str | None,
        wrong: int,
        by_socket: bool,
    ) -> None:
        """Somebody writes to somebody, or to her own other devices, with a right list or a wrong one."""
        sender = self._one(which)
        account = self.people[self.people.index(sender.account) ^ other]
        devices = [one for one in self.model.of(account) if one is not sender]
        if fault == "missing":
            del devices[wrong % MAX_DEVICES :]
        elif fault == "extra":
            devices.append(self.model.devices[wrong % len(self.model.devices)])
        for content in contents:
            envelopes = [
                {"device_id": one.id, "content": content}
                | ({"registration_id": STALE} if fault == "stale" else one.keys_named)
                # For nobody nothing can be sent; for herself it is as wrong.
                for one in dict.fromkeys(devices or [sender])
            ]
            body = {
                "to": account,
                "client_id": str(next(self.names)),
                "envelopes": envelopes,
                "expires_in": expires_in,
            }
            self.letters.append((sender, body))
            self._send(sender, body, by_socket)

    def send_again(self, which: int, by_socket: bool) -> None:
        """Somebody repeats a message, as after a lost answer."""
        for sender, body in self.letters[-1 - which :][:1]:
            self._send(sender, body, by_socket)

    def reuse_client_id(self, which: int, content: str, by_socket: bool) -> None:
        """Somebody writes another message under a client id, or perhaps the same."""
        for sender, body in self.letters[-1 - which :][:1]:
            envelopes = [one | {"content": content} for one in body["envelopes"]]
            self._send(sender, body | {"envelopes": envelopes}, by_socket)

    def _send(self, sender: Device, body: Document, by_socket: bool) -> None:
        if by_socket and sender in self.ears:
            answer, refused = self._send_by_socket(self.ears[sender], body)
        else:
            posted = self._ask(sender, "POST", "/v1/messages", json=body)
            if not sender.here:
                assert problem_code(posted) == "token-invalid"
                return
            answer, refused = posted.json, posted.status_code != 202
        refusal = self.model.refusal(sender, body)
        if refusal is None:
            assert not refused, answer
            self.model.accept(sender, body, answer, self.clock.now)
        else:
            shown = answer | {"type": answer["type"].removeprefix("/problems/")}
            assert {name: shown.get(name) for name in refusal} == refusal

    @staticmethod
    def _send_by_socket(ear: Ear, body: Document) -> tuple[Document, bool]:
        envelopes = [
            one | {"content": base64.urlsafe_b64decode(one["content"] + "==")}
            for one in body["envelopes"]
        ]
        frame = {"type": "send"} | body | {"envelopes": envelopes}
        answer = ear.ask(frame, "accepted", "refused")
        assert answer.pop("client_id") == body["client_id"]
        if answer.pop("type") == "refused":
            problem: Document = answer["problem"]
            return problem, True
        return answer, False

    def fetch(self, which: int, limit: int, patient: bool) -> None:
        """A device fetches a page, or waits for one that is there, whether its socket is open or not."""
        device = self._one(which)
        waiting = device.shown(self.clock.now)
        query = {"limit": limit, "wait": int(patient and bool(waiting))}
        answer = self._ask(device, "GET", "/v1/messages", query_string=query)
        more = len(waiting) > limit
        assert answer.json == {"messages": waiting[:limit], "more": more, "missed": None}

    def acknowledge(self, which: int, back: int, by_socket: bool) -> None:
        """A device acknowledges: all, some, again, or what is yet to come."""
        device = self._one(which)
        through = max(0, device.last - back)
        if by_socket and device in self.ears:
            frame = {"type": "ack", "through": through}
            answer = self.ears[device].ask(frame, "acked", "refused")
            code = str(answer.get("problem", {}).get("type", "")).removeprefix("/problems/")
        else:
            posted = self._ask(device, "POST", "/v1/messages/ack", json={"through": through})
            code = "" if posted.status_code == 204 else problem_code(posted)
        known = self.model.acknowledge(device, through)
        assert code == ("" if known else "acknowledgement-ahead")

    def open(self, which: int, subprotocol: str) -> None:
        """A device opens its socket, perhaps once more, and is told all that waits and the mark."""
        device = self._one(which)
        older = self.ears.pop(device, None)
        ear = self.ears[device] = Ear(device, self.address, subprotocol)
        if older is not None:
            assert older.closing().code == CloseCode.REPLACED
            older.drop()
        ear.hear_what_waits(device.shown(self.clock.now))

    def drop(self, which: int) -> None:
        """A device's connection breaks, without a word."""
        for ear in list(self.ears.values())[which:][:1]:
            del self.ears[ear.device]
            ear.drop()

    def link(self, which: int) -> None:
        """Somebody links one more device."""
        device = self._one(which)
        if len(self.model.of(device.account)) < MAX_DEVICES:
            made = self._ask(device, "POST", "/v1/device-links").json
            redeeming = {"link_code": made["link_code"], "device": {}}
            joined = self.client.post("/v1/device-links/redeem", json=redeeming).json
            self._add(joined["account_id"], joined["device_id"], joined["device_token"])

    def revoke(self, which: int, gone: int) -> None:
        """Somebody removes one of her devices, perhaps the one in her hand; nobody another's."""
        device, removed = self._one(which), self._one(gone)
        if self.model.of(removed.account) == [removed]:
            # Whoever has no device is not there; that is for the tests of accounts.
            return
        answer = self._ask(device, "DELETE", f"/v1/devices/{removed.id}")
        if removed.account == device.account:
            assert answer.status_code == 204, answer.text
            removed.here = False
        else:
            assert problem_code(answer) == "device-not-found"

    def register_again(self, who: int) -> None:
        """Somebody proves her number on a new phone: the account stays, its devices go."""
        older = self.model.of(self.people[who])
        assert self._register(self.numbers[who]).account == self.people[who]
        for device in older:
            device.here = False

    def publish(self, which: int, registration_id: int) -> None:
        """A device publishes keys, or begins anew with others."""
        device = self._one(which)
        self.keys[device].registration_id = registration_id
        answer = self._ask(device, "PUT", "/v1/keys", json=self.keys[device].first())
        assert answer.status_code == 204, answer.text
        device.registration_id = registration_id

    def judge(self, which: int, state: str | None) -> None:
        """Somebody accepts, blocks or forgets the other one."""
        device = self._one(which)
        peer = self.people[1 - self.people.index(device.account)]
        method, body = ("PUT", {"state": state}) if state else ("DELETE", None)
        answer = self._ask(device, method, f"/v1/contacts/{peer}", json=body)
        assert answer.status_code == 204, answer.text
        self.model.stand(device.account, peer, state)

    def advance(self, seconds: int, clean: bool) -> None:
        """Time passes, and the periodic work may run."""
        self.clock.advance(seconds)
        if clean:
            self.kith.maintenance.run()
            self.model.clean(self.clock.now)

    @invariant()
    def everything_waits_as_the_model_says(self) -> None:
        """Each device is delivered exactly what waits for it, in order."""
        for device in self.model.here():
            answer = self._ask(device, "GET", "/v1/messages")
            shown = device.shown(self.clock.now)
            assert answer.json == {"messages": shown, "more": False, "missed": None}

    @invariant()
    def everything_is_heard_at_once(self) -> None:
        """Each open socket is told what was stored for its device, once and in order, and nothing else."""
        for ear in list(self.ears.values()):
            if ear.device.here:
                ear.hear_news()
                assert ear.is_quiet()
            else:
                assert ear.closing().code == CloseCode.REVOKED
                self.ears.pop(ear.device).drop()

    def teardown(self) -> None:
        """Who is gone gets nothing more."""
        for ear in self.ears.values():
            ear.drop()
        for device in self.model.devices:
            if not device.here:
                assert problem_code(self._ask(device, "GET", "/v1/messages")) == "token-invalid"


@pytest.fixture
def app(make_app: MakeApp) -> OpenAPI:
    """An application in which nobody meets the limits on writing."""
    return make_app(messages_to_new_recipient_per_day=1_000_000)


@pytest.mark.slow
def test_a_mailbox_is_what_the_model_says(
    client: ContractClient,
    clock: Clock,
    app: OpenAPI,
    register: Callable[[str], Person],
    bound: Callable[..., None],
) -> None:
    """Whatever people do in whatever order, each device has what the model says, and no more."""
    bound(max_messages=ROOM, max_bytes=ROOM_BYTES)

    class Bound(Machine):
        pass

    Bound.client, Bound.clock, Bound.kith = client, clock, app.extensions["kith"]
    Bound.register = staticmethod(register)
    with served(app) as Bound.address:
        run_state_machine_as_test(
            Bound,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                phases=[Phase.reuse, Phase.generate],
                deadline=None,
                suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
            ),
        )
    assert next(RUNS) >= EXAMPLES
