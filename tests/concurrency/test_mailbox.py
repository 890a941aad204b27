"""Mailboxes and the directory under parallel requests, on real connections of both databases."""

import base64
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from core.database import table
from core.problems import Problem
from core.rate_limit_statements import RateLimitCounter
from discovery.models import DiscoveryEpoch
from messaging.contacts.models import Contact
from messaging.contacts.service import ContactState
from messaging.mailbox.models import Envelope, Mailbox, SentMessage
from messaging.message_types import DeviceEnvelope, MessageSubmission
from tokens.devices import Caller
from tokens.schemas import DeviceDescription

THREADS = 12


@pytest.fixture
def kith(app):
    """The services, called without HTTP."""
    return app.extensions["kith"]


@pytest.fixture
def add_devices(kith):
    """Add devices to an account; give them as callers."""

    def add(account_id, number):
        with kith.runtime.database.write() as connection:
            return [
                Caller(account_id, joined.device_id, b"")
                for joined in (
                    kith.tokens.devices.add(
                        connection, account_id, uuid4(), DeviceDescription(), os.urandom(32)
                    )
                    for _ in range(number)
                )
            ]

    return add


def in_parallel(*jobs):
    """Start all jobs at once, each in a thread of its own; give what each returned or raised."""
    barrier = Barrier(len(jobs))

    def run(job):
        barrier.wait()
        try:
            return job()
        except Problem as problem:
            return problem

    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(run, jobs))


@dataclass
class Sender:
    """One device that sends."""

    kith: object
    caller: Caller

    def send(self, devices, client_id=None, **changes):
        """Send a message to devices, in the order given."""
        outgoing = MessageSubmission(
            self.caller.account_id,
            self.caller.device_id,
            client_id or uuid4().hex,
            devices[0].account_id,
            [DeviceEnvelope(device.device_id, b"abc") for device in devices],
            urgent=False,
            expires_in=3600,
        )
        return self.kith.messaging.messages.send(replace(outgoing, **changes))


@pytest.fixture
def senders(kith, add_devices):
    """Devices of as many accounts as there are threads."""
    return [Sender(kith, add_devices(uuid4(), 1)[0]) for _ in range(THREADS)]


def code(answer):
    """Name how a send ended."""
    return answer.code if isinstance(answer, Problem) else "accepted"


def stored(kith, device):
    """Give the numbers in a mailbox, and how many it counts."""
    with kith.runtime.database.read() as connection:
        numbers = connection.scalars(
            select(Envelope.seq)
            .where(Envelope.device_id == device.device_id)
            .order_by(Envelope.seq)
        ).all()
        waiting = connection.scalar(
            select(Mailbox.waiting).where(Mailbox.device_id == device.device_id)
        )
    return list(numbers), waiting


def test_a_reader_never_meets_a_gap(kith, add_devices, senders):
    """Numbers become visible in their order: no later fetch shows one before those seen."""
    each = 10
    (reader,) = add_devices(uuid4(), 1)

    def write(sender):
        for _ in range(each):
            sender.send([reader])

    def read():
        seen = []
        while len(seen) < each * THREADS:
            page, more = kith.messaging.messages.fetch(reader, 100, 10)
            fresh = [delivery.seq for delivery in page if delivery.seq > len(seen)]
            seen += fresh
            if more or len(seen) % 2:
                kith.messaging.messages.acknowledge(reader, len(seen))
        return seen

    *_, seen = in_parallel(*[lambda sender=sender: write(sender) for sender in senders], read)
    assert seen == list(range(1, each * THREADS + 1))


def test_envelopes_in_any_order_do_not_block_each_other(kith, add_devices, senders):
    """Senders that name the same devices in other orders all get through."""
    devices = add_devices(uuid4(), 5)

    def write(index, sender):
        order = devices if index % 2 else devices[::-1]
        return [code(sender.send(order)) for _ in range(5)]

    answers = in_parallel(*[lambda pair=pair: write(*pair) for pair in enumerate(senders)])
    assert answers == [["accepted"] * 5] * THREADS
    for device in devices:
        numbers, waiting = stored(kith, device)
        assert numbers == list(range(1, 5 * THREADS + 1))
        assert waiting == 5 * THREADS


def test_a_message_sent_many_times_at_once_is_stored_once(kith, add_devices, senders):
    """All the requests with one client id get the one answer."""
    devices = add_devices(uuid4(), 2)
    answers = in_parallel(*[lambda: senders[0].send(devices, client_id="1")] * THREADS)
    assert len(set(answers)) == 1
    assert [stored(kith, device) for device in devices] == [([1], 1)] * 2


def test_of_different_messages_under_one_client_id_one_is_stored(kith, add_devices, senders):
    """The others are refused and leave nothing."""
    (device,) = add_devices(uuid4(), 1)
    answers = in_parallel(
        *[
            lambda life=life: senders[0].send([device], client_id="1", expires_in=life)
            for life in range(60, 60 + THREADS)
        ]
    )
    assert Counter(map(code, answers)) == {"accepted": 1, "client-id-reused": THREADS - 1}
    assert stored(kith, device) == ([1], 1)


def test_a_mailbox_takes_exactly_what_it_may_hold(kith, add_devices, senders, bound):
    """Parallel strangers cannot overfill their tenth, and who is refused leaves nothing in the others."""
    bound(max_messages=50)
    devices = add_devices(uuid4(), 2)
    answers = in_parallel(*[lambda sender=sender: sender.send(devices) for sender in senders])
    assert Counter(map(code, answers)) == {"accepted": 5, "mailbox-full": THREADS - 5}
    assert [stored(kith, device) for device in devices] == [([1, 2, 3, 4, 5], 5)] * 2
    with kith.runtime.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(SentMessage)) == 5


def test_processes_that_store_one_message_at_once_store_it_once(make_app, add_devices, senders):
    """Each has a committer of its own; the client id is claimed in the table, and all give one answer."""
    devices = add_devices(uuid4(), 2)
    elsewhere = [
        replace(senders[0], kith=make_app().extensions["kith"]) for _ in range(THREADS // 2)
    ]
    answers = in_parallel(
        *[lambda one=one: one.send(devices, client_id="1") for one in elsewhere * 2]
    )
    assert len(set(answers)) == 1
    assert [stored(elsewhere[0].kith, device) for device in devices] == [([1], 1)] * 2


@pytest.mark.parametrize("processes", [1, 3])
def test_a_message_sent_many_times_at_once_counts_once(
    processes, make_app, add_devices, senders, database
):
    """Repeats use up nothing of the limits, and none is refused because of another."""
    limits = {
        "messages_to_new_recipient_per_day": 1,
        "messages_per_minute": 1,
        "new_recipients_per_day": 1,
    }
    apps = [make_app(**limits).extensions["kith"] for _ in range(processes)]
    (device,) = add_devices(uuid4(), 1)
    elsewhere = [replace(senders[0], kith=kith) for kith in apps] * (THREADS // processes)
    answers = in_parallel(*[lambda one=one: one.send([device], client_id="1") for one in elsewhere])
    assert list(map(code, answers)) == ["accepted"] * THREADS
    assert len(set(answers)) == 1
    assert stored(apps[0], device) == ([1], 1)
    with database.read() as connection:
        counted = connection.execute(select(RateLimitCounter.name, RateLimitCounter.used)).all()
    assert set(map(tuple, counted)) >= {
        ("messages", 1),
        ("messages-to-new-recipient", 1),
        ("new-recipients", 1),
    }
    assert (
        code(in_parallel(lambda: elsewhere[0].send([device], client_id="2"))[0])
        == "message-rate-limited"
    )


def test_a_device_removed_meanwhile_leaves_nothing(kith, add_devices, senders):
    """A send is before the removal or after it; no envelope outlives its mailbox."""
    staying, leaving = add_devices(uuid4(), 2)

    def remove():
        with kith.runtime.database.write() as connection:
            kith.tokens.devices.remove_devices(connection, leaving.account_id, [leaving.device_id])
        return "removed"

    answers = in_parallel(
        *[lambda sender=sender: sender.send([staying, leaving]) for sender in senders], remove
    )
    outcomes = Counter(map(code, answers[:-1]))
    assert answers[-1] == "removed"
    assert outcomes["accepted"] + outcomes["devices-mismatched"] == THREADS
    assert stored(kith, leaving) == ([], None)
    assert stored(kith, staying)[1] == outcomes["accepted"]


def test_the_count_of_a_mailbox_stays_true(kith, clock, add_devices, senders):
    """Sending, acknowledging and expiring at once, a mailbox still knows what it holds."""
    (device,) = add_devices(uuid4(), 1)
    for _ in range(20):
        senders[0].send([device], expires_in=60)
    clock.advance(60)

    def write(sender):
        for _ in range(5):
            sender.send([device])

    def acknowledge():
        for through in range(1, 21):
            kith.messaging.messages.acknowledge(device, through)

    def expire():
        for _ in range(5):
            with kith.runtime.database.write() as connection:
                kith.messaging.messages.purge_envelopes(connection, clock())

    in_parallel(
        *[lambda sender=sender: write(sender) for sender in senders[1:7]],
        acknowledge,
        expire,
        expire,
    )
    assert stored(kith, device) == (list(range(21, 51)), 30)


def test_the_first_epoch_is_made_once(make_app, database):
    """Processes that all find none agree on one salt, whether they list or look up first."""
    services = [make_app().extensions["kith"].discovery.service for _ in range(THREADS)]

    def list_someone(service, number):
        with database.write() as connection:
            service.listing_changed(connection, UUID(int=number), f"+4915112345{number}", True)
        return service.parameters()[0]

    epochs = in_parallel(
        *[
            (lambda service=service, number=number: list_someone(service, number))
            if number % 2
            else (lambda service=service: service.parameters()[0])
            for number, service in enumerate(services)
        ]
    )
    assert len(set(epochs)) == 1
    assert len(base64.urlsafe_b64decode(epochs[0].salt + "=")) == 32
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(DiscoveryEpoch)) == 1


def test_one_sender_takes_exactly_their_half(kith, make_app, add_devices, bound):
    """In 60 parallel sends over two processes one who is known gets half of the mailbox, and no more."""
    bound(max_messages=20)
    other = make_app().extensions["kith"]
    other.messaging.messages._batches.quota = kith.messaging.messages._batches.quota
    (device,) = add_devices(uuid4(), 1)
    (known,) = add_devices(uuid4(), 1)
    with kith.runtime.database.write() as connection:
        connection.execute(
            table(Contact).insert(),
            {
                "account_id": device.account_id,
                "peer_id": known.account_id,
                "state": ContactState.ACCEPTED,
                "since": kith.runtime.clock(),
            },
        )
    senders = [Sender(one, known) for one in (kith, other)] * 30
    answers = in_parallel(*[lambda sender=sender: sender.send([device]) for sender in senders])
    assert Counter(map(code, answers)) == {"accepted": 10, "mailbox-full": 50}
    assert stored(kith, device) == (list(range(1, 11)), 10)
