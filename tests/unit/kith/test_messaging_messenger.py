"""Texts arrive once on every device, whatever is lost on the way."""

import json
import threading

import httpx
import msgspec
import pytest

from kith import Envelope
from kith.errors import KithProblem, KithUnreachable
from kith.messaging import formats
from kith.messaging.formats import MAX_TEXT_BYTES, Receipt, Text
from kith.messaging.messenger import Messenger, TextInvalid
from kith.messaging.outbox import OutgoingMessage
from kith.messaging.recipients import KeysChanged
from kith.messaging.store import Store
from kith.messaging.store_encryption import UnlockMethod
from kith.problems import MailboxFull
from tests.unit.kith.canned import problem
from tests.unit.kith.message_devices import Make, MessageDevice
from tests.unit.kith.message_server import SENT_AT


def test_a_conversation_with_marks(ann: MessageDevice, ben: MessageDevice) -> None:
    """A text is sent, delivered, read, and answered."""
    sent = ann.send(ben, "hello")
    assert sent.state == "sent"
    (got,) = ben.messenger.receive()
    assert (got.text, got.with_account, got.outgoing) == ("hello", ann.account_id, False)
    assert [one.state for one in ann.messenger.receive()] == ["delivered"]
    ben.messenger.mark_shown([got], send_receipts=True)
    ben.messenger.flush()
    assert [one.state for one in ann.messenger.receive()] == ["read"]
    ben.send(ann, "hi")
    assert ann.texts() == ["hi"]
    assert [one.text for one in ann.messenger.history.newest(ben.account_id, 9)] == ["hello", "hi"]
    assert ben.messenger.history.unread() == []


def test_all_devices_of_both_have_it(ann: MessageDevice, ben: MessageDevice, make: Make) -> None:
    """Every device of the recipient and every other one of the sender has the text."""
    laptop, tablet = make("laptop", owner="ann"), make("tablet", owner="ben")
    ann.messenger.fetch_identities(ann.account_id)
    ann.messenger.accounts.accept(ann.account_id)

    ann.send(ben, "hello")

    assert ben.texts() == tablet.texts() == ["hello"]
    copy, marked = laptop.messenger.receive()
    assert (copy.text, copy.outgoing, copy.with_account) == ("hello", True, ben.account_id)
    assert (marked.id, marked.state) == (copy.id, "delivered")
    laptop.send(ben, "from the laptop")
    assert ben.texts() == ["from the laptop"]


def test_what_newer_clients_send_is_ignored(ann: MessageDevice, ben: MessageDevice) -> None:
    """A payload of a type that Ben does not know shows him nothing, and the texts around it come."""
    ann.send(ben, "before")
    newer = {"type": "reaction", "to": b"i" * 16, "with": "👍"}
    content = ann.encrypt_for(ben, formats.pad(msgspec.msgpack.encode(newer)))
    ann.kith.send_message(ben.account_id, [Envelope(ben.device_id, content)])
    ann.send(ben, "after")

    assert ben.texts() == ["before", "after"]


def test_texts_are_padded_and_unreadable_on_the_way(ann: MessageDevice, ben: MessageDevice) -> None:
    """What the server is given has none of the text, and the same size for a long and a short one."""
    for text in ("x", "x" * 80):
        ann.send(ben, text)
    sizes = {len(body["envelopes"][0]["content"]) for body in ann.message_server.bodies}
    assert len(sizes) == 1


def test_a_lost_answer_sends_the_same_again(ann: MessageDevice, ben: MessageDevice) -> None:
    """The same bytes go out under the same client id, and arrive once."""
    ann.send(ben, "0")

    def lose_sessions() -> None:
        raise httpx.ReadTimeout("lost")

    ann.message_server.after_storing = lose_sessions
    with pytest.raises(KithUnreachable):
        ann.send(ben, "1")
    ann.message_server.after_storing = lambda: None
    before = list(ann.message_server.bodies)
    ann.restart()
    ann.messenger.flush()

    assert ann.message_server.bodies == before
    assert ben.texts() == ["0", "1"]
    (_, again) = ann.messenger.history.newest(ben.account_id, 2)
    assert again.state == "sent"


def test_a_text_that_never_left_goes_out_later(ann: MessageDevice, ben: MessageDevice) -> None:
    """A crash between keeping and sending loses nothing, and uses no key twice."""

    def crash() -> None:
        raise KeyboardInterrupt

    ann.message_server.before_storing = crash
    with pytest.raises(KeyboardInterrupt):
        ann.send(ben, "1")
    (kept,) = ann.store.all(OutgoingMessage)
    ann.message_server.before_storing = lambda: None
    ann.restart()
    ann.messenger.prepare()
    ann.send(ben, "2")

    (first, second) = [body["envelopes"][0]["content"] for body in ann.message_server.bodies[:2]]
    assert first != second
    assert ann.message_server.bodies[0]["client_id"] == kept.client_id
    assert ben.texts() == ["1", "2"]


def test_what_waited_for_a_day_is_given_up(ann: MessageDevice, ben: MessageDevice) -> None:
    """The server would take it for a new message, so it is not sent again."""
    ann.send(ben, "0")

    def lose_sessions() -> None:
        raise httpx.ReadTimeout("lost")

    ann.message_server.after_storing = lose_sessions
    with pytest.raises(KithUnreachable):
        ann.send(ben, "1")
    ann.message_server.after_storing = lambda: None
    sent = len(ann.message_server.bodies)
    ann.clock.now += 86_000
    ann.messenger.prepare()

    assert len(ann.message_server.bodies) == sent
    assert ann.messenger.history.newest(ben.account_id, 1)[0].state == "failed"


def test_what_follows_a_text_may_follow_later(
    ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """A text that was accepted is sent, though the copy for another device got no answer."""
    laptop = make("laptop", owner="ann")
    ann.messenger.fetch_identities(ann.account_id)
    ann.messenger.accounts.accept(ann.account_id)
    answers = iter((False, *[True] * 3))

    def lose_sessions() -> None:
        if next(answers, False):
            raise httpx.ReadTimeout("lost")

    ann.message_server.after_storing = lose_sessions
    assert ann.send(ben, "1").state == "sent"
    ann.messenger.flush()
    assert [one.text for one in laptop.messenger.receive()] == ["1"]


def test_two_commands_at_once(ann: MessageDevice, ben: MessageDevice) -> None:
    """Two processes with one store take turns at its ratchets: every text is read, none twice."""
    ann.send(ben, "first")
    ben.send(ann, "answer")
    failures: list[BaseException] = []

    def command(name: str) -> None:
        try:
            with Store(ann.directory / "ann.db", UnlockMethod(ann.directory / "ann.key")) as store:
                other = Messenger(ann.kith, store, ann.account_id, ann.device_id, clock=ann.clock)
                for n in range(15):
                    other.send(ben.account_id, f"{name}{n}")
                    other.receive()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=command, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    texts = ben.texts()
    assert sorted(map(str, texts)) == sorted(
        ["first", *(f"{x}{n}" for x in "ab" for n in range(15))]
    )
    for name in ("a", "b"):
        assert [one for one in texts if one and one[0] == name] == [f"{name}{n}" for n in range(15)]


def test_what_is_acknowledged_is_kept(ann: MessageDevice, ben: MessageDevice) -> None:
    """A crash between keeping and acknowledging shows nothing twice."""
    ann.send(ben, "1")
    waiting = list(ann.message_server.mailboxes[ben.device_id])
    page = ben.kith.fetch_messages()
    assert [one.text for one in ben.messenger.process(page.messages)] == ["1"]
    ben.restart()

    assert ann.message_server.mailboxes[ben.device_id] == waiting
    assert ben.texts() == []
    assert [one.text for one in ben.messenger.history.unread()] == ["1"]
    assert ann.message_server.mailboxes[ben.device_id] == []


def test_a_failure_in_the_middle_of_a_page_keeps_nothing(
    ann: MessageDevice, ben: MessageDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ratchet goes on only together with the texts."""
    for text in ("1", "2"):
        ann.send(ben, text)
    page = ben.kith.fetch_messages()
    broken = [*page.messages, None]
    with pytest.raises(AttributeError):
        ben.messenger.process(broken)  # type: ignore[arg-type]

    assert ben.messenger.history.unread() == []
    assert ben.texts() == ["1", "2"]


def test_a_message_that_is_delivered_again_is_passed_over(
    ann: MessageDevice, ben: MessageDevice
) -> None:
    """At least once becomes once, whatever its number and whatever its id."""
    ann.send(ben, "1")
    (waiting,) = ann.message_server.mailboxes[ben.device_id]
    assert ben.texts() == ["1"]
    ann.message_server.mailboxes[ben.device_id].append({**waiting, "seq": 9})
    assert ben.texts() == []
    ann.message_server.put(ben.device_id, ann.account_id, ann.device_id, waiting["content"])
    assert ben.texts() == []


def test_strangers_are_told_nothing(ann: MessageDevice, ben: MessageDevice) -> None:
    """A request is marked, and neither receipts nor new sessions answer it."""
    ann.message_server.strangers.add((ann.account_id, ben.account_id))
    ann.send(ben, "1")
    ann.message_server.put(
        ben.device_id, ann.account_id, ann.device_id, b"\x01\x02garbage", to=ben.account_id
    )
    first, second = ben.messenger.receive()

    assert (first.text, first.request) == ("1", True)
    assert (second.text, second.request) == (None, True)
    ben.messenger.mark_shown([first, second], send_receipts=True)
    ben.messenger.flush()
    assert ann.message_server.mailboxes[ann.device_id] == []


def test_a_broken_session_is_mended(ann: MessageDevice, ben: MessageDevice) -> None:
    """Who cannot read a message begins a new session, once in a while, and then it works again."""
    ann.send(ben, "1")
    ben.texts()
    ben.send(ann, "2")
    ann.texts()
    ben.lose_sessions(ann)
    ann.send(ben, "lost")
    assert ben.texts() == [None, None]  # a receipt, which nobody can tell from a text, and the text
    assert ann.texts() == []
    ann.send(ben, "3")
    assert ben.texts() == ["3"]


def test_odd_contents_lose_nothing(ann: MessageDevice, ben: MessageDevice) -> None:
    """Repeated, unknown and broken contents between good texts cost none of those."""
    ann.send(ben, "1")
    ben.texts()
    ben.send(ann, "2")
    ann.texts()
    ben.texts()
    for odd in (b"\x07", b"\x01\x09", b"\x01\x02" + bytes(200), b"\x01"):
        ann.send(ben, f"before {odd[:2].hex()}")
        repeated = ann.message_server.mailboxes[ben.device_id][-1]["content"]
        for content in (odd, repeated):
            ann.message_server.put(ben.device_id, ann.account_id, ann.device_id, content)
        ann.send(ben, "after")
    shown = ["before 07", "after", "before 0109", "after"]
    broken = ["before 0102", None, "after", "before 01", None, "after"]

    assert ben.texts() == shown + broken
    ben.messenger.flush()
    ann.send(ben, "in the same session still")
    assert ann.texts() == []
    ann.send(ben, "in the new one")
    ben.send(ann, "and back")
    assert ben.texts() == ["in the same session still", "in the new one"]
    assert ann.texts() == ["and back"]


@pytest.mark.parametrize("look", ["nothing", "keys", "send", "accept"])
def test_what_was_sent_before_a_new_device_is_read(
    look: str, ann: MessageDevice, ben: MessageDevice
) -> None:
    """Looking at whoever registered again costs nothing of what their former device sent."""
    ann.send(ben, "1")
    ben.texts()
    ben.send(ann, "2")
    ann.texts()
    ann.send(ben, "from the former device")
    ann.start_over()
    match look:
        case "keys":
            ben.messenger.fetch_identities(ann.account_id)
        case "send":
            with pytest.raises(KeysChanged):
                ben.send(ann, "hm")
        case "accept":
            ben.messenger.fetch_identities(ann.account_id)
            ben.messenger.accounts.accept(ann.account_id)

    got = [entry for entry in ben.messenger.receive() if not entry.outgoing]
    assert [(entry.text, entry.new_keys) for entry in got] == [("from the former device", False)]
    ben.messenger.fetch_identities(ann.account_id)
    ben.messenger.accounts.accept(ann.account_id)
    assert set(ben.messenger.accounts.get(ann.account_id).devices) == {ann.device_id}
    ben.send(ann, "to the new one")
    assert ann.texts() == ["to the new one"]


def test_a_former_device_whose_keys_were_not_accepted_stays_marked(
    ann: MessageDevice, ben: MessageDevice, make: Make
) -> None:
    """Its texts are read after it is gone, and are still not trusted."""
    ben.send(ann, "1")
    eve = make("eve", owner="ann")
    eve.send(ben, "2")
    ann.send(ben, "3")
    assert [one.new_keys for one in ben.messenger.receive() if not one.outgoing] == [True, False]
    eve.send(ben, "4")
    ann.message_server.remove(eve.account_id, eve.device_id)
    ben.messenger.fetch_identities(ann.account_id)
    ben.messenger.accounts.accept(ann.account_id)

    (got,) = ben.messenger.receive()
    assert (got.text, got.new_keys) == ("4", True)
    assert set(ben.messenger.accounts.get(ann.account_id).devices) == {ann.device_id}


@pytest.mark.parametrize("before", [0, 1, 60])
def test_what_was_missed_is_acknowledged(
    before: int, ann: MessageDevice, ben: MessageDevice
) -> None:
    """It is told until all messages before it are handled and it is acknowledged, and shown once."""
    for n in range(before):
        ann.send(ben, str(n))
    ann.message_server.missed[ben.device_id] = {"since": SENT_AT, "through": before + 1}

    assert ben.texts() == [str(n) for n in range(before)]
    assert ann.message_server.missed == {}
    gap = ben.messenger.gap()
    assert gap is not None
    ben.messenger.mark_gap_shown(gap)
    assert ben.messenger.gap() is None


def test_a_refusal_is_final(ann: MessageDevice, ben: MessageDevice) -> None:
    """What the server refuses is not tried again by itself."""
    ann.send(ben, "1")
    handle = ann.message_server._handle
    ann.message_server.handler = lambda request: (
        problem("mailbox-full", 429)
        if request.method == "POST" and request.url.path == "/v1/messages"
        else handle(request)
    )
    with pytest.raises(MailboxFull):
        ann.send(ben, "2")
    ann.message_server.handler = handle
    ann.messenger.flush()

    assert ben.texts() == ["1"]
    assert [one.state for one in ann.messenger.history.newest(ben.account_id, 9)] == [
        "sent",
        "failed",
    ]


@pytest.mark.parametrize("text", ["", " \n", "x" * (MAX_TEXT_BYTES + 1), "\udcff"])
def test_texts_that_do_not_fit(text: str, ann: MessageDevice, ben: MessageDevice) -> None:
    """An empty text, one that is too long and one that is no Unicode are refused."""
    with pytest.raises(TextInvalid):
        ann.send(ben, text)
    assert ann.message_server.bodies == []


def test_the_longest_text_fits(ann: MessageDevice, ben: MessageDevice) -> None:
    """A text of the greatest length arrives whole, within 64 KiB."""
    ann.send(ben, "x" * MAX_TEXT_BYTES)
    assert ben.texts() == ["x" * MAX_TEXT_BYTES]
    assert max(len(json.dumps(body)) for body in ann.message_server.bodies) < 65_536


def test_lies_about_groups_and_receipts(ann: MessageDevice, ben: MessageDevice, make: Make) -> None:
    """A text is of the group that the server delivers it to, a receipt of whom the text was for."""
    ann.send(ben, "1")
    ben.texts()
    (own,) = ann.messenger.receive()
    eve = make("eve")
    outbox = eve.messenger._outbox
    outbox.queue(ann.account_id, Receipt("read", [bytes.fromhex(own.id)]))
    outbox.queue(ann.account_id, Text(b"i" * 16, "to a group", 1, bytes(16)))
    outbox.queue(ann.account_id, Text(b"short", "odd", 1))
    outbox.queue(ann.account_id, Text(b"k" * 16, "from another time", 1 << 60))
    outbox.queue(ann.account_id, formats.Transcript(bytes(16), Text(b"j" * 16, "not yours", 1)))
    eve.messenger.flush()

    assert [(one.text, one.outgoing) for one in ann.messenger.receive()] == [(None, False)] * 3
    (kept,) = ann.messenger.history.newest(ben.account_id, 1)
    assert kept.state == "delivered"


def test_what_was_kept_goes_out_before_what_is_newer(
    ann: MessageDevice, ben: MessageDevice
) -> None:
    """A newer text does not pass one that got no answer, and both are kept while none goes out."""
    told: list[tuple[str | None, str]] = []
    ann.messenger.on_queued_result = lambda entry: told.append((entry.text, entry.state))
    ann.send(ben, "1")

    def lose_sessions() -> None:
        raise httpx.ConnectError("down")

    ann.message_server.before_storing = lose_sessions
    for text in ("2", "3"):
        with pytest.raises(KithUnreachable):
            ann.send(ben, text)
    assert told == []
    ann.message_server.before_storing = lambda: None
    assert ann.send(ben, "4").state == "sent"

    assert ben.texts() == ["1", "2", "3", "4"]
    assert told == [("2", "sent"), ("3", "sent")]


def test_a_text_that_the_server_cannot_take_now_is_not_passed(
    ann: MessageDevice, ben: MessageDevice
) -> None:
    """While one gets a 503 the newer ones wait behind it, those that are entered and those kept."""
    ann.send(ben, "1")
    handle, busy = ann.message_server._handle, 3 * 3

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal busy
        if busy and request.method == "POST" and request.url.path == "/v1/messages":
            busy -= 1
            return problem("overloaded", 503)
        return handle(request)

    ann.message_server.handler = answer
    for text in ("2", "3"):
        with pytest.raises(KithProblem):
            ann.send(ben, text)
    ann.messenger.flush()
    assert busy == 0
    assert ben.texts() == ["1"]
    ann.messenger.flush()
    assert ben.texts() == ["2", "3"]
