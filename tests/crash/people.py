"""People who register and write to each other, and remember what they were promised.

The load, and the record of what was requested and what was answered 2xx. It checks nothing.
"""

import base64
import random
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import httpx

REGISTERING, WRITING = 3, 3
#: How much has to be promised before the server is killed.
ENOUGH_PEOPLE, ENOUGH_MESSAGES = 6, 20


@dataclass(frozen=True)
class Person:
    """Someone whose registration was answered 201."""

    number: str
    account_id: str
    device_id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates her."""
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Text:
    """One message, sent by the person who counts them."""

    sender: str
    number: int
    recipient: str

    @property
    def client_id(self) -> str:
        """Its name, which is its content too."""
        return f"{self.sender}.{self.number}"

    @property
    def content(self) -> str:
        """The name as the wire carries it."""
        return base64.urlsafe_b64encode(self.client_id.encode()).rstrip(b"=").decode()


@dataclass
class Promises:
    """Everything asked for, and everything that was answered 2xx."""

    #: Number by the idempotency key of each start that was ever sent.
    asked: dict[str, str] = field(default_factory=dict)
    #: Verification by the key of each start that was answered.
    started: dict[str, str] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    #: Verification by the key of each registration whose answer was lost.
    unanswered: dict[str, str] = field(default_factory=dict)
    people: list[Person] = field(default_factory=list)
    accepted: dict[str, list[Text]] = field(default_factory=lambda: defaultdict(list))


class Town:
    """Registers people and lets them write, over several lives of the server."""

    def __init__(self, seed: int) -> None:
        self.promises = Promises()
        self._chance = random.Random(seed)
        self._numbers = (f"+491511{n:07d}" for n in count())
        self._lock = threading.Lock()
        self._writers: list[Person] = []
        #: The message of each writer whose answer was lost; it is sent again first.
        self._unsure: dict[str, Text] = {}
        self._killed = threading.Event()
        self._enough = threading.Event()
        self._goal = (0, 0)

    def live(self, base_url: str, kill: Callable[[], None], grace: float) -> None:
        """Put the server under load until enough is promised, then kill it in the middle."""
        self._killed.clear()
        self._enough.clear()
        people, messages = self._promised()
        self._goal = (people + ENOUGH_PEOPLE, messages + ENOUGH_MESSAGES)
        with ThreadPoolExecutor(REGISTERING + WRITING) as pool:
            while len(self._writers) < WRITING:
                with httpx.Client(base_url=base_url) as client:
                    self._writers.append(self._register(client))
            jobs: list[Future[None]] = [
                pool.submit(self._register_people, base_url) for _ in range(REGISTERING)
            ]
            jobs += [pool.submit(self._write, base_url, writer) for writer in self._writers]
            enough = self._enough.wait(30)
            # A random moment, which no event announces.
            self._killed.wait(grace)
            self._killed.set()
            kill()
            for job in jobs:
                job.result()
        assert enough, f"only {self._promised()} people and messages in 30 seconds"

    def _promised(self) -> tuple[int, int]:
        with self._lock:
            accepted = self.promises.accepted.values()
            return len(self.promises.people), sum(len(texts) for texts in accepted)

    def _note(self) -> None:
        people, messages = self._promised()
        if people >= self._goal[0] and messages >= self._goal[1]:
            self._enough.set()

    @contextmanager
    def _until_killed(self, base_url: str):  # type: ignore[no-untyped-def]
        """Let a connection break once the server is killed, and never before."""
        try:
            with httpx.Client(base_url=base_url, timeout=30) as client:
                yield client
        except httpx.TransportError:
            assert self._killed.is_set(), "a connection broke while the server was up"

    def _register_people(self, base_url: str) -> None:
        with self._until_killed(base_url) as client:
            while True:
                self._register(client)
                self._note()

    def _register(self, client: httpx.Client) -> Person:
        with self._lock:
            number = next(self._numbers)
        key = f"start-of-the-verification-{number}"
        self.promises.asked[key] = number
        verification = start(client, key, number)
        self.promises.started[key] = verification
        code = read_code(client, number)
        answer = client.post(f"/v1/verifications/{verification}/checks", json={"code": code})
        assert answer.status_code == 200, answer.text
        self.promises.verified.add(verification)
        key = f"registration-of-device-{number}"
        self.promises.unanswered[key] = verification
        person = register(client, key, verification)
        with self._lock:
            del self.promises.unanswered[key]
            self.promises.people.append(person)
        return person

    def _write(self, base_url: str, writer: Person) -> None:
        with self._until_killed(base_url) as client:
            while True:
                text = self._unsure.get(writer.device_id) or self._next_text(writer)
                self._unsure[writer.device_id] = text
                to = next(p for p in self.promises.people if p.device_id == text.recipient)
                answer = client.post(
                    "/v1/messages",
                    headers=writer.headers,
                    json={
                        "to": to.account_id,
                        "client_id": text.client_id,
                        "envelopes": [{"device_id": to.device_id, "content": text.content}],
                    },
                )
                assert answer.status_code == 202, answer.text
                with self._lock:
                    self.promises.accepted[writer.device_id].append(text)
                del self._unsure[writer.device_id]
                self._note()

    def _next_text(self, writer: Person) -> Text:
        with self._lock:
            sent = len(self.promises.accepted[writer.device_id])
            others = [p for p in self.promises.people[-8:] + self._writers if p != writer]
            return Text(writer.device_id, sent + 1, self._chance.choice(others).device_id)


def start(client: httpx.Client, key: str, number: str) -> str:
    """Start a verification and give its id."""
    answer = client.post(
        "/v1/verifications", json={"phone_number": number}, headers={"Idempotency-Key": key}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def read_code(client: httpx.Client, number: str) -> str:
    """Read the code of a number from the outbox."""
    answer = client.get("/dev/outbox.json", params={"to": number})
    found = re.search(r"\d{6,8}", answer.json()["messages"][0]["body"])
    assert found
    return found.group()


def register(client: httpx.Client, key: str, verification: str) -> Person:
    """Register a device for a verified number."""
    answer = client.post(
        "/v1/registrations",
        json={"verification_id": verification},
        headers={"Idempotency-Key": key},
    )
    assert answer.status_code == 201, answer.text
    done = answer.json()
    return Person(done["phone_number"], done["account_id"], done["device_id"], done["device_token"])
