"""One transaction of messages and acknowledgements: each gets its own answer, whatever its neighbours get."""

import os
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from core.database import table
from core.metrics import Metrics
from core.problems import Problem
from messaging.keys.models import DeviceKeys
from messaging.mailbox import envelopes, store
from messaging.mailbox.jobs import AcknowledgeJob, SendJob
from messaging.mailbox.message_batch import BatchProcessor
from messaging.mailbox.models import Envelope, Mailbox, Payload, SentMessage
from messaging.mailbox.problems import MailboxFull
from messaging.mailbox.quota import MailboxQuota
from messaging.mailbox.recipients import devices_digest
from messaging.message_types import (
    AcceptedMessage,
    DeliveryDecision,
    DeviceEnvelope,
    GroupAtVersion,
    JoinedMembers,
    MessageSubmission,
    SharedContent,
)
from messaging.metrics import MessagingMetrics
from messaging.notifications.registry import ListenerRegistry
from tests.conftest import Clock
from tokens.models import Device

CONTENT = b"ciphertext"
#: One sender can fill five messages and 100 bytes of it.
QUOTA = MailboxQuota(10, 200)


@dataclass
class House:
    """Accounts with devices, groups, and batches of messages between them."""

    database: object
    clock: Clock
    batches: BatchProcessor = None

    def __post_init__(self):
        self.members, self.decisions, self.evaluated = {}, {}, []
        self.batches = BatchProcessor(
            self.database,
            self.clock,
            MessagingMetrics(Metrics()),
            ListenerRegistry(),
            os.urandom,
            self.evaluate,
            self.find,
            QUOTA,
        )

    def evaluate(self, connection, pairs, now):
        """Say of each recipient what the test wants."""
        self.evaluated.append(len(pairs))
        return [self.decisions.get(pair.to_id, DeliveryDecision()) for pair in pairs]

    def find(self, connection, groups):
        """Find the groups of the test."""
        return {group: self.members[group] for group in groups if group in self.members}

    def account(self, *registration_ids):
        """Make an account; give its id and those of its devices, which published keys or None."""
        account_id, device_ids = uuid4(), [uuid4() for _ in registration_ids]
        with self.database.write() as connection:
            for device_id, registration_id in zip(device_ids, registration_ids, strict=True):
                connection.execute(
                    table(Device).insert(),
                    {
                        "account_id": account_id,
                        "id": device_id,
                        "token_hash": device_id.bytes * 2,
                        "created_at": self.clock(),
                        "last_seen_at": self.clock(),
                    },
                )
                store.create(connection, account_id, device_id)
                if registration_id is not None:
                    connection.execute(
                        table(DeviceKeys).insert(),
                        {
                            "account_id": account_id,
                            "device_id": device_id,
                            "registration_id": registration_id,
                            "identity_key": bytes(32),
                            "signed_prekey_id": 0,
                            "signed_prekey": bytes(32),
                            "signed_prekey_signature": bytes(64),
                            "updated_at": self.clock(),
                        },
                    )
        return account_id, *device_ids

    def post(self, *jobs):
        """Post a batch in one transaction; give the answers, refusals by their codes."""
        with self.database.write() as connection:
            self.result = self.batches.process(connection, jobs, self.clock())
        self.check()
        return [job.answer.code if isinstance(job.answer, Problem) else job.answer for job in jobs]

    def check(self):
        """Hold the counts of mailboxes and payloads against what is in them."""
        with self.database.read() as connection:
            for box in connection.execute(select(*table(Mailbox).c)):
                waiting, size = connection.execute(
                    select(func.count(), func.coalesce(func.sum(Envelope.size), 0)).where(
                        Envelope.device_id == box.device_id
                    )
                ).one()
                assert (box.waiting, box.waiting_bytes) == (waiting, size)
            leading = Counter(
                connection.scalars(select(Envelope.message_id).where(Envelope.content.is_(None)))
            )
            payloads = connection.execute(select(Payload.message_id, Payload.waiting)).all()
            assert dict(map(tuple, payloads)) == leading

    def waiting(self, device_id):
        """Give what waits for a device: numbers and contents."""
        with self.database.read() as connection:
            page = envelopes.read_page(connection, device_id, 0, self.clock(), 100)
        return [(delivery.seq, delivery.content) for delivery in page.deliveries]

    def count(self, model):
        """Count the rows of a table."""
        with self.database.read() as connection:
            return connection.scalar(select(func.count()).select_from(model))


@pytest.fixture
def house(database, clock):
    """A house without people."""
    return House(database, clock)


def sending(sender, to, contents, **fields):
    """Make a message from the first device of an account."""
    if not isinstance(contents, SharedContent):
        contents = [
            one if isinstance(one, DeviceEnvelope) else DeviceEnvelope(one, CONTENT)
            for one in contents
        ]
    fields = {"client_id": uuid4().hex, "urgent": False, "expires_in": 3600} | fields
    return SendJob(
        MessageSubmission(sender[0], sender[1], to=to, contents=contents, **fields),
        lambda answer: None,
    )


def acknowledging(device_id, through):
    """Make an acknowledgement."""
    return AcknowledgeJob(device_id, through, lambda answer: None)


def test_each_refusal_beside_successes(house):
    """What is refused leaves nothing, and what stands beside it is stored, in order."""
    anna, ben, full = house.account(1), house.account(7, None), house.account(None)
    blocked, silent = house.account(1), house.account(1)
    house.decisions = {
        blocked[0]: DeliveryDecision(refusal=MailboxFull("Not today.", retry_after=1)),
        silent[0]: DeliveryDecision(dropped=True),
    }
    house.post(*[sending(anna, full[0], full[1:]) for _ in range(5)])
    again = sending(anna, ben[0], ben[1:], client_id="1")
    other = sending(anna, ben[0], ben[1:], client_id="1", expires_in=60)
    dropped = sending(anna, silent[0], silent[1:])
    jobs = [
        again,
        sending(anna, uuid4(), [uuid4()]),
        sending(anna, ben[0], ben[1:2]),
        sending(anna, ben[0], [*ben[1:], uuid4()]),
        sending(
            anna, ben[0], [DeviceEnvelope(ben[1], CONTENT, 8), DeviceEnvelope(ben[2], CONTENT, 1)]
        ),
        sending(anna, blocked[0], blocked[1:]),
        dropped,
        sending(anna, full[0], full[1:]),
        sending(anna, GroupAtVersion(uuid4(), 1), [ben[1]]),
        other,
        again,
        acknowledging(ben[1], 1),
        sending(
            anna, ben[0], [DeviceEnvelope(ben[1], b"last", 7), DeviceEnvelope(ben[2], b"last")]
        ),
    ]
    answers = house.post(*jobs)
    assert answers[1:6] == [
        "account-not-found",
        *["devices-mismatched"] * 3,
        "mailbox-full",
    ]
    assert answers[7:10] == ["mailbox-full", "group-not-found", "client-id-reused"]
    assert answers[11] == "acknowledgement-ahead"
    assert isinstance(answers[0], AcceptedMessage)
    assert answers[10] == answers[0]
    assert isinstance(answers[6], AcceptedMessage)
    assert house.waiting(ben[1]) == house.waiting(ben[2]) == [(1, CONTENT), (2, b"last")]
    assert house.waiting(silent[1]) == []
    assert house.count(SentMessage) == 5 + 3
    assert house.result.steps["dropped"] == 1
    assert house.post(dropped) == [answers[6]]


def test_what_a_mismatch_names(house):
    """Devices left out, devices of nobody, and devices with other keys, or with none."""
    anna, ben = house.account(1), house.account(7, None, 9)
    stranger = uuid4()
    job = sending(
        anna,
        ben[0],
        [
            DeviceEnvelope(ben[1], CONTENT, 8),
            DeviceEnvelope(ben[2], CONTENT, 1),
            DeviceEnvelope(stranger, b"x"),
        ],
    )
    house.post(job)
    assert job.answer.members == {
        "missing": [str(ben[3])],
        "extra": [str(stranger)],
        "stale": sorted([str(ben[1]), str(ben[2])]),
    }
    assert house.count(Envelope) == 0


def test_to_the_own_account(house):
    """A message to oneself is for each other device, and is not evaluated."""
    anna = house.account(1, 2)
    (answer,) = house.post(sending(anna, anna[0], anna[2:]))
    assert isinstance(answer, AcceptedMessage)
    assert house.post(sending(anna, anna[0], anna[1:])) == ["devices-mismatched"]
    assert house.evaluated == []


def test_evaluated_once_a_batch(house):
    """All messages to others are evaluated together, and their decisions go with them."""
    anna, ben = house.account(1), house.account(1)
    house.decisions = {ben[0]: DeliveryDecision(is_request=True)}
    house.post(*[sending(anna, ben[0], ben[1:]) for _ in range(3)])
    assert house.evaluated == [3]
    assert all(delivery.is_request for delivery in house.result.deliveries[ben[1]])


def test_what_is_there_several_times_is_evaluated_once(house):
    """Repeats in one batch have one answer, a refusal too; another message under the name has none."""
    anna, ben, eve = house.account(1), house.account(1), house.account(1)
    house.decisions = {eve[0]: DeliveryDecision(refusal=MailboxFull("Not today.", retry_after=1))}

    def repeats(to, name):
        jobs = [sending(anna, to[0], to[1:], client_id=name) for _ in range(4)]
        return [*jobs, sending(anna, to[0], to[1:], client_id=name, expires_in=60)]

    first, *others, reused = house.post(*repeats(ben, "1"), *repeats(eve, "2"))[:5]
    assert isinstance(first, AcceptedMessage)
    assert others == [first] * 3
    assert reused == "client-id-reused"
    assert house.evaluated == [2]
    assert house.post(*repeats(eve, "2")) == [*["mailbox-full"] * 4, "client-id-reused"]
    assert house.evaluated == [2, 1]
    assert house.waiting(ben[1]) == [(1, CONTENT)]
    assert house.count(SentMessage) == 1


def test_a_mailbox_is_bounded_by_count_and_bytes(house):
    """The last that fits is taken; an acknowledgement in the same batch makes room."""
    anna, ben = house.account(1), house.account(1)
    fits = sending(anna, ben[0], [DeviceEnvelope(ben[1], bytes(100))])
    assert isinstance(house.post(fits)[0], AcceptedMessage)
    assert house.post(sending(anna, ben[0], [DeviceEnvelope(ben[1], b"x")])) == ["mailbox-full"]
    answers = house.post(
        *[sending(anna, ben[0], [DeviceEnvelope(ben[1], b"x")]) for _ in range(6)],
        acknowledging(ben[1], 1),
    )
    assert answers[5:] == ["mailbox-full", None]
    assert [seq for seq, _ in house.waiting(ben[1])] == [2, 3, 4, 5, 6]


def test_acknowledgements_of_a_batch(house):
    """The highest counts; each is answered by itself."""
    anna, ben = house.account(1), house.account(1, 2)
    for _ in range(3):
        house.post(sending(anna, ben[0], ben[1:]))
    assert house.post(
        acknowledging(ben[1], 2),
        acknowledging(ben[1], 1),
        acknowledging(ben[1], 4),
        acknowledging(ben[2], 0),
        acknowledging(uuid4(), 1),
    ) == [None, None, "acknowledgement-ahead", None, "acknowledgement-ahead"]
    assert [seq for seq, _ in house.waiting(ben[1])] == [3]
    assert [seq for seq, _ in house.waiting(ben[2])] == [1, 2, 3]
    assert house.result.steps["acknowledged"] == 2


def test_who_is_woken(house):
    """All devices hear what they were sent, and those are named that it is urgent for."""
    anna, ben, carl = house.account(1), house.account(1), house.account(1)
    house.post(sending(anna, ben[0], ben[1:], urgent=True), sending(anna, carl[0], carl[1:]))
    assert house.result.urgent == {ben[1]}
    assert set(house.result.deliveries) == {ben[1], carl[1]}


def devices(*accounts):
    """Say for which devices with which keys something is encrypted: the keys' ids are all 1."""
    return {device_id: 1 for account in accounts for device_id in account[1:]}


def test_one_content_for_a_group(house):
    """It is stored once, goes to all but the sending device, and ends with its last envelope."""
    anna, ben, carl = house.account(1, 1), house.account(1), house.account(1)
    group = uuid4()
    house.members[group] = JoinedMembers(3, frozenset({anna[0], ben[0], carl[0]}))
    digest = devices_digest(devices(anna[1:], ben, carl))
    shared = sending(anna, GroupAtVersion(group, 3), SharedContent(CONTENT, digest))
    assert isinstance(house.post(shared)[0], AcceptedMessage)
    for device_id in (anna[2], ben[1], carl[1]):
        assert house.waiting(device_id) == [(1, CONTENT)]
    assert house.count(Payload) == 1
    house.post(acknowledging(anna[2], 1))
    with house.database.write() as connection:
        envelopes.delete_mailboxes(connection, [ben[1]])
    house.check()
    house.clock.advance(3600)
    with house.database.write() as connection:
        assert envelopes.delete_expired(connection, house.clock(), QUOTA) == 1
    house.check()
    assert house.count(Payload) == 0


def test_what_a_group_refuses(house):
    """Strangers, another version, other devices; a list for each device is exact like any other."""
    anna, ben, eve = house.account(1), house.account(1), house.account(1)
    group = uuid4()
    house.members[group] = JoinedMembers(3, frozenset({anna[0], ben[0]}))
    right = devices_digest(devices(ben))
    changed = sending(anna, GroupAtVersion(group, 2), SharedContent(CONTENT, right))
    answers = house.post(
        sending(eve, GroupAtVersion(group, 3), SharedContent(CONTENT, right)),
        changed,
        sending(anna, GroupAtVersion(group, 3), SharedContent(CONTENT, bytes(32))),
        sending(anna, GroupAtVersion(group, 3), [ben[1], eve[1]]),
        sending(anna, GroupAtVersion(group, 3), ben[1:]),
    )
    assert answers[:4] == ["group-not-found", "group-changed", *["devices-mismatched"] * 2]
    assert changed.answer.members == {"version": 3}
    (delivery,) = house.result.deliveries[ben[1]]
    assert delivery.header.group == GroupAtVersion(group, 3)
    assert house.evaluated == [1]  # those for nobody are not evaluated


def test_the_digest_is_the_one_of_the_protocol():
    """Ids in ascending order, each with its registration id in four bytes, 0 without keys."""
    found = devices_digest({UUID(int=2): 5, UUID(int=1): None})
    assert found.hex() == "64a3437aa3003915180ddb4aa48ce0fde6be9ab067f9d6b18b4b96a8ce5eb380"


def test_expired_envelopes_make_room(house):
    """What expired is gone from the counts too, and others stay."""
    anna, ben = house.account(1), house.account(1)
    house.post(sending(anna, ben[0], ben[1:], expires_in=60), sending(anna, ben[0], ben[1:]))
    house.clock.now += timedelta(seconds=60)
    with house.database.write() as connection:
        assert envelopes.delete_expired(connection, house.clock(), QUOTA) == 1
    house.check()
    assert house.waiting(ben[1]) == [(2, CONTENT)]
