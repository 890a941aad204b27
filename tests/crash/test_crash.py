"""kill -9 of the real server under load: whatever was answered 2xx is there after a restart."""

import base64
import hashlib
import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from core.database import Database
from sms.models import OutboxMessage
from tests.crash.people import Person, Promises, Town, register
from tests.server import running_server

ROUNDS = 3
#: A start cut off by the crash is not answered for a while; nobody has to see that here.
PATIENCE = 1.0


@pytest.mark.slow
def test_nothing_acknowledged_is_lost(database_url: str, tmp_path: Path) -> None:
    """Accounts, listings, proofs and messages outlive three kills, and nothing is sent twice."""
    town, received = Town(seed=3), defaultdict[str, list[str]](list)
    chance = random.Random()
    environment = {"KITH_DATA_DIR": str(tmp_path), "KITH_DATABASE_URL": database_url}
    log = tmp_path / "server.log"
    for _ in range(ROUNDS):
        with running_server(environment, log) as server:
            _judge(server.base_url, database_url, town.promises, received)
            town.live(server.base_url, server.kill, grace=chance.uniform(0, 0.3))
    with running_server(environment, log) as server:
        _judge(server.base_url, database_url, town.promises, received)
        # Starts that wait for an answer lost in the crash would hold up a friendly stop.
        server.kill()
    assert "internal-error" not in log.read_text()
    assert "Traceback" not in log.read_text()


def _judge(
    base_url: str, database_url: str, promises: Promises, received: dict[str, list[str]]
) -> None:
    with httpx.Client(base_url=base_url, timeout=30) as client:
        _finish_registrations(client, promises)
        _judge_people(client, promises)
        _judge_verifications(client, promises)
        for person in promises.people:
            received[person.device_id] += _empty_mailbox(client, person)
    _judge_messages(promises, received)
    _judge_repeated_starts(base_url, database_url, promises)


def _finish_registrations(client: httpx.Client, promises: Promises) -> None:
    """Repeat each registration whose answer was lost: it is done, once, under the same key."""
    for key, verification in list(promises.unanswered.items()):
        person = register(client, key, verification)
        assert register(client, key, verification) == person
        promises.people.append(person)
        del promises.unanswered[key]


def _judge_people(client: httpx.Client, promises: Promises) -> None:
    """Each registered person authenticates, and is found by her number."""
    for person in promises.people:
        answer = client.get("/v1/account", headers=person.headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["account_id"] == person.account_id
        assert answer.json()["phone_number"] == person.number
    if promises.people:
        headers = promises.people[0].headers
        parameters = client.get("/v1/discovery/parameters", headers=headers).json()
        expected = {_hash(p.number, parameters["salt"]): p.account_id for p in promises.people}
        lookup = {"epoch": parameters["epoch"], "hashes": list(expected)}
        answer = client.post("/v1/discovery/lookups", json=lookup, headers=headers)
        assert answer.json()["matches"] == expected


def _hash(number: str, salt: str) -> str:
    digest = hashlib.sha256(f"{number.removeprefix('+')} msisdn {salt}".encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _judge_verifications(client: httpx.Client, promises: Promises) -> None:
    """Each verification that was started is there, and each verified one is verified."""
    for verification in promises.started.values():
        answer = client.get(f"/v1/verifications/{verification}")
        assert answer.status_code == 200, answer.text
        if verification in promises.verified:
            assert answer.json()["status"] == "verified"


def _empty_mailbox(client: httpx.Client, person: Person) -> list[str]:
    """Fetch and acknowledge all that waits for a device; give the texts in order."""
    texts: list[str] = []
    while True:
        page = client.get("/v1/messages", params={"limit": 100}, headers=person.headers).json()
        texts += [_read(message["content"]) for message in page["messages"]]
        if page["messages"]:
            through = {"through": page["messages"][-1]["seq"]}
            done = client.post("/v1/messages/ack", json=through, headers=person.headers)
            assert done.status_code == 204, done.text
        if not page["more"]:
            return texts


def _read(content: str) -> str:
    return base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)).decode()


def _judge_messages(promises: Promises, received: dict[str, list[str]]) -> None:
    """Each accepted message was fetched exactly once, those of one sender in their order."""
    for device, texts in received.items():
        accepted = {
            text.client_id
            for sent in promises.accepted.values()
            for text in sent
            if text.recipient == device
        }
        assert accepted <= set(texts)
        by_sender = defaultdict[str, list[int]](list)
        for text in texts:
            sender, _, number = text.rpartition(".")
            by_sender[sender].append(int(number))
        for numbers in by_sender.values():
            # Strictly rising: in order, and none twice.
            assert numbers == sorted(set(numbers))


def _judge_repeated_starts(base_url: str, database_url: str, promises: Promises) -> None:
    """A start repeated with its key gives the same verification, and never a second text."""

    def again(key: str) -> None:
        with (
            suppress(httpx.TimeoutException),
            httpx.Client(base_url=base_url, timeout=PATIENCE) as client,
        ):
            answer = client.post(
                "/v1/verifications",
                json={"phone_number": promises.asked[key]},
                headers={"Idempotency-Key": key},
            )
            assert answer.status_code in (201, 409), answer.text
            if key in promises.started and answer.status_code == 201:
                assert answer.json()["id"] == promises.started[key]
            assert answer.status_code == 201 or key not in promises.started

    unanswered = [key for key in promises.asked if key not in promises.started]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(again, unanswered + list(promises.started)[-8:]))
    with closing(Database(database_url)) as database, database.read() as session:
        query = select(OutboxMessage.to, func.count().label("texts")).group_by(OutboxMessage.to)
        texts = {row.to: row.texts for row in session.execute(query)}
    assert all(number in promises.asked.values() for number in texts)
    assert max(texts.values(), default=1) == 1
    answered = {promises.asked[key] for key in promises.started}
    assert answered <= set(texts)
