"""Waiting for the first message (long poll)."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from messaging.mailbox.service import MessageService
from tests.api.messages.conftest import numbers

#: Far longer than any test may take: a wait that ends was ended by what the test is about.
LONG = 20


def test_a_wait_ends_empty(ben, fetch):
    """When nothing comes the answer is an empty page."""
    assert fetch(ben, wait=1) == {"messages": [], "more": False, "missed": None}


def test_a_wait_is_not_needed_when_something_is_there(ben, send, fetch):
    """What already waits is answered at once."""
    send(ben)
    assert numbers(fetch(ben, wait=LONG)) == [1]


@pytest.fixture
def waiting(app, monkeypatch):
    """Start a fetch in a thread, come back once it has looked in vain; give its future answer."""
    looked = threading.Event()
    look = MessageService._first_page

    def tell(*arguments):
        found = look(*arguments)
        looked.set()
        return found

    monkeypatch.setattr(MessageService, "_first_page", tell)

    def fetch(device):
        path = f"/v1/messages?wait={LONG}"
        return app.test_client().get(path, headers=device.headers).json

    with ThreadPoolExecutor() as threads:

        def start(device):
            looked.clear()
            answer = threads.submit(fetch, device)
            assert looked.wait(LONG)
            return answer

        yield start


def test_a_wait_ends_with_a_message(ben, send, waiting):
    """The wake-up alone ends the wait, without the slow poll."""
    answer = waiting(ben)
    send(ben)
    assert numbers(answer.result(LONG / 2)) == [1]


def test_a_wait_ends_with_a_message_of_another_process(app, ben, send, waiting, monkeypatch):
    """What is stored where no wake-up reaches us from is found by the slow poll."""
    kith = app.extensions["kith"]
    monkeypatch.setattr(kith.messaging.messages.registry, "notify_stored", lambda *_: None)
    answer = waiting(ben)
    send(ben)
    kith.messaging.mailbox_poller.poll()
    assert numbers(answer.result(LONG / 2)) == [1]


def test_a_newer_wait_ends_the_older(ben, send, waiting):
    """One device holds one waiting request; the one before answers with what there is."""
    older = waiting(ben)
    newer = waiting(ben)
    assert older.result(LONG / 2) == {"messages": [], "more": False, "missed": None}
    send(ben)
    assert numbers(newer.result(LONG / 2)) == [1]


def test_who_waits_holds_no_connection(app, ben, send, waiting):
    """Thousands may wait on a pool of a few connections."""
    answer = waiting(ben)
    assert app.extensions["kith"].runtime.database.engine.pool.checkedout() == 0
    send(ben)
    assert numbers(answer.result(LONG / 2)) == [1]


def test_a_wait_ends_with_its_device(client, ben, waiting):
    """Who waits for a device that is removed waits no longer."""
    answer = waiting(ben)
    client.delete(f"/v1/devices/{ben.device_id}", headers=ben.headers)
    assert answer.result(LONG / 2) == {"messages": [], "more": False, "missed": None}


def test_a_stop_ends_waits(app, ben, send, fetch, waiting):
    """Waits are answered with what there is, and none is begun; what waits is still given out."""
    answer = waiting(ben)
    app.extensions["kith"].end_polls()
    assert answer.result(LONG / 2)["messages"] == []
    assert fetch(ben, wait=LONG)["messages"] == []
    send(ben)
    assert numbers(fetch(ben, wait=LONG)) == [1]
