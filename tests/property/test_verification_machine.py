"""The verification as a state machine over HTTP, held against a model of what design §3 says."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import Clock, MakeApp, problem_code

LIFE = timedelta(minutes=10)
WAITS = {"sms": (60, 120, 300, 600), "voice": (60, 120)}
INTERVAL, DAY = timedelta(hours=4.8), timedelta(days=1)
#: Each run has numbers and requesters of its own, so that no limit of one is felt in the next.
RUNS = count()


@dataclass
class Model:
    """One verification as it should be; `sent` holds the times of its sends by channel."""

    id: str
    number: str
    requester: str
    code: str
    created: datetime
    ends: datetime
    state: str = "pending"
    left: int = 5
    sent: dict[str, list[datetime]] = field(default_factory=lambda: {"sms": [], "voice": []})
    used: bool = False

    def status(self, now: datetime) -> str:
        """Return the status now."""
        return "expired" if self.state == "pending" and now >= self.ends else self.state

    def wait(self, channel: str, now: datetime) -> int | None:
        """Return in how many seconds it may send again; None if never."""
        times, waits = self.sent[channel], WAITS[channel]
        if self.status(now) != "pending" or len(times) > len(waits):
            return None
        base = times[-1] if times else self.created
        at = base + timedelta(seconds=waits[len(times) - 1] if times else 60)
        return None if at >= self.ends else max(0, int((at - now).total_seconds()))


class Bucket:
    """A leaky bucket of five a day."""

    def __init__(self) -> None:
        self.arrival: datetime | None = None

    def take(self, now: datetime) -> bool:
        """Take one if there is one."""
        base = max(self.arrival or now, now)
        if base + INTERVAL > now + DAY:
            return False
        self.arrival = base + INTERVAL
        return True


class Machine(RuleBasedStateMachine):
    """What people may do, in any order."""

    app: OpenAPI
    clock: Clock
    verifications = Bundle("verifications")

    def __init__(self) -> None:
        super().__init__()
        run = next(RUNS)
        self.client = self.app.test_client()
        self.numbers = [f"+49151{run:04d}{n:04d}" for n in (1111, 2222)]
        self.requesters = [f"10.{run // 250}.{run % 250}.{n}" for n in (1, 2, 3)]
        self.models: list[Model] = []
        self.buckets: dict[tuple[str, str], Bucket] = {}
        self.texts = dict.fromkeys(self.numbers, 0)
        self.accounts: dict[str, str] = {}

    def post(self, path: str, body: Any, requester: str = "127.0.0.1") -> Any:
        """Send a request from an address."""
        return self.client.post(path, json=body, environ_overrides={"REMOTE_ADDR": requester})

    def outbox(self, number: str) -> list[Any]:
        """Read the texts and calls of a number, newest first."""
        answer = self.client.get("/dev/outbox.json", query_string={"to": number})
        return list(answer.json["messages"])

    def bucket(self, number: str, requester: str) -> Bucket:
        """Return the allowance of a requester for a number."""
        return self.buckets.setdefault((number, requester), Bucket())

    @rule(
        target=verifications,
        who=st.integers(0, 2),
        which=st.integers(0, 1),
        channel=st.sampled_from(["sms", "sms", "voice"]),
        older=st.none() | verifications,
    )
    def start(self, who: int, which: int, channel: str, older: Model | None) -> Any:
        """Someone asks for a code; the older verification that they name ends, and no other."""
        number, requester, now = self.numbers[which], self.requesters[who], self.clock.now
        body = {"phone_number": number, "channel": channel}
        if older:
            body["supersedes"] = older.id
        answer = self.post("/v1/verifications", body, requester)
        if not self.bucket(number, requester).take(now):
            assert problem_code(answer) == "too-many-sends"
            return multiple()
        assert answer.status_code == 201, answer.text
        self.texts[number] += 1
        code = re.search(r"\d{6}", re.sub(r", ", "", self.outbox(number)[0]["body"]))
        assert code
        if older and older.status(now) == "pending":
            older.state = "canceled"
        model = Model(answer.json["id"], number, requester, code.group(), now, now + LIFE)
        model.sent[channel].append(now)
        self.models.append(model)
        return model

    @rule(model=verifications, channel=st.sampled_from(["sms", "voice"]))
    def resend(self, model: Model, channel: str) -> None:
        """Someone asks for the code again."""
        now = self.clock.now
        status, wait = model.status(now), model.wait(channel, now)
        answer = self.post(f"/v1/verifications/{model.id}/sends", {"channel": channel})
        if status != "pending":
            assert problem_code(answer) == CLOSED[status]
        elif wait is None:
            assert problem_code(answer) == "no-sends-left"
        elif wait > 0:
            assert problem_code(answer) == "send-too-soon"
            assert answer.headers["Retry-After"] == str(wait)
        elif not self.bucket(model.number, model.requester).take(now):
            assert problem_code(answer) == "too-many-sends"
        else:
            assert answer.status_code == 201, answer.text
            model.sent[channel].append(now)
            self.texts[model.number] += 1
            newest = self.outbox(model.number)[0]
            assert newest["channel"] == channel
            assert model.code in newest["body"].replace(", ", "")

    @rule(model=verifications, right=st.booleans())
    def check(self, model: Model, right: bool) -> None:
        """Someone types a code; the right one voids every older proof of the number."""
        now = self.clock.now
        status = model.status(now)
        code = model.code if right else f"{(int(model.code) + 1) % 10**6:06d}"
        answer = self.post(f"/v1/verifications/{model.id}/checks", {"code": code})
        if right and status in ("pending", "verified"):
            assert answer.json["status"] == "verified"
            if status == "pending":
                for older in self.models:
                    if (older.number, older.state, older.used) == (model.number, "verified", False):
                        older.state = "canceled"
                model.state, model.ends = "verified", now + LIFE
        elif status != "pending":
            assert problem_code(answer) == CLOSED[status]
        else:
            assert problem_code(answer) == "code-rejected"
            model.left -= 1
            assert answer.json["checks_left"] == model.left
            if model.left == 0:
                model.state = "failed"

    @rule(model=consumes(verifications))
    def cancel(self, model: Model) -> None:
        """Someone gives up."""
        assert self.client.delete(f"/v1/verifications/{model.id}").status_code == 204
        if not model.used and model.state in ("pending", "verified"):
            model.state = "canceled"

    @rule(model=verifications)
    def register(self, model: Model) -> None:
        """Someone uses the proof, if it is one, once."""
        now = self.clock.now
        answer = self.post("/v1/registrations", {"verification_id": model.id})
        status = model.status(now)
        if model.used:
            assert problem_code(answer) == "verification-used"
        elif status == "pending":
            assert problem_code(answer) == "verification-not-verified"
        elif status == "expired" or (status == "verified" and now >= model.ends):
            assert problem_code(answer) == "verification-expired"
        elif status != "verified":
            assert problem_code(answer) == "verification-closed"
        else:
            assert answer.status_code == 201, answer.text
            assert answer.json["phone_number"] == model.number
            account = answer.json["account_id"]
            assert self.accounts.setdefault(model.number, account) == account
            model.used = True

    @rule(seconds=st.sampled_from([1, 30, 60, 61, 120, 300, 600, 17_280]))
    def advance(self, seconds: int) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        """Each verification shows its state, its guesses and its waits, and nothing else was sent."""
        now = self.clock.now
        for model in self.models:
            shown = self.client.get(f"/v1/verifications/{model.id}").json
            status = model.status(now)
            assert shown["status"] == status
            assert shown["checks_left"] == (model.left if status == "pending" else 0)
            assert shown["next_sms_in"] == model.wait("sms", now)
            assert shown["next_voice_in"] == model.wait("voice", now)
        for number, sent in self.texts.items():
            assert len(self.outbox(number)) == sent


CLOSED = {
    "expired": "verification-expired",
    "failed": "checks-exhausted",
    "canceled": "verification-closed",
    "verified": "verification-closed",
}


@pytest.mark.slow
def test_a_verification_is_what_the_model_says(make_app: MakeApp, clock: Clock) -> None:
    """Whatever people do in whatever order, states, guesses, waits and texts are the model's."""

    class Bound(Machine):
        app = make_app()

    Bound.clock = clock
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
        ),
    )
    assert next(RUNS) >= 15
