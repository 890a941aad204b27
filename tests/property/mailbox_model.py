"""Mailboxes as they should be, by docs/messaging.md: what waits for whom, and how senders are refused."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

Document = dict[str, Any]
#: A blocked sender is not told, so what they had filled of the mailbox before is asked of them still.
BLOCKED = ("blocked", "blocked after accepted")


class Waiting(NamedTuple):
    """A message in a mailbox: as it is shown, its bytes, and when it expires."""

    shown: Document
    size: int
    expires_at: datetime


@dataclass(eq=False)
class Device:
    """One device: what waits for it, and what it sent by client id, with the time and the answer."""

    account: str
    id: str
    headers: dict[str, str]
    registration_id: int | None = None
    here: bool = True
    last: int = 0
    waiting: list[Waiting] = field(default_factory=list)
    sent: dict[str, tuple[Document, datetime, Document]] = field(default_factory=dict)

    @property
    def keys_named(self) -> Document:
        """Say in an envelope for which of its keys it is."""
        return {"registration_id": self.registration_id} if self.registration_id else {}

    def shown(self, now: datetime) -> list[Document]:
        """Give what is delivered to it."""
        return [one.shown for one in self.waiting if one.expires_at > now]


@dataclass
class Model:
    """All devices there ever were, and how accounts stand to each other."""

    room: int
    room_bytes: int
    devices: list[Device] = field(default_factory=list)
    contacts: dict[tuple[str, str], str] = field(default_factory=dict)

    def here(self) -> list[Device]:
        """Give the devices there are."""
        return [device for device in self.devices if device.here]

    def of(self, account: str) -> list[Device]:
        """Give the devices of an account."""
        return [device for device in self.here() if device.account == account]

    def refusal(self, sender: Device, body: Document) -> Document | None:
        """Say what refuses a message; None when it is accepted."""
        if body["client_id"] in sender.sent:
            same = sender.sent[body["client_id"]][0] == body
            return None if same else {"type": "client-id-reused"}
        targets = {device.id: device for device in self.of(body["to"])}
        if not targets:
            return {"type": "account-not-found"}
        targets.pop(sender.id, None)
        ids = {one["device_id"]: one.get("registration_id") for one in body["envelopes"]}
        both = targets.keys() & ids.keys()
        mismatch = {
            "missing": sorted(targets.keys() - ids.keys()),
            "extra": sorted(ids.keys() - targets.keys()),
            "stale": sorted(i for i in both if ids[i] not in (None, targets[i].registration_id)),
        }
        if any(mismatch.values()):
            return {"type": "devices-mismatched", **mismatch}
        if self.contacts.get((sender.account, body["to"])) in BLOCKED:
            return {"type": "recipient-blocked"}
        if sender.account != body["to"]:
            self.contacts.setdefault((sender.account, body["to"]), "accepted")
        fits = all(self._fits(device, sender.account, size_of(body)) for device in targets.values())
        return None if fits else {"type": "mailbox-full"}

    def _fits(self, device: Device, sender: str, size: int) -> bool:
        """Say whether a mailbox takes one more: in all, and of this sender or of all strangers."""
        if not self._holds(device.waiting, size, 1):
            return False
        if sender == device.account:
            return True
        if self.contacts.get((device.account, sender)) in (None, "blocked"):
            requests = [one for one in device.waiting if one.shown["request"]]
            return not requests or self._holds(requests, size, 10)
        share = [one for one in device.waiting if one.shown["from_account_id"] == sender]
        return self._holds(share, size, 2)

    def _holds(self, waiting: list[Waiting], size: int, part: int) -> bool:
        messages = len(waiting) + 1
        total = sum(one.size for one in waiting) + size
        return messages <= max(1, self.room // part) and total <= self.room_bytes // part

    def accept(self, sender: Device, body: Document, answer: Document, now: datetime) -> None:
        """Deliver a message that nothing refused, or find that it was before."""
        _, at, first = sender.sent.setdefault(body["client_id"], (body, now, answer))
        assert answer == first
        standing = self.contacts.get((body["to"], sender.account))
        if first is not answer or standing in BLOCKED:
            return
        for envelope in body["envelopes"]:
            device = next(device for device in self.devices if device.id == envelope["device_id"])
            device.last += 1
            shown = {
                "seq": device.last,
                "id": answer["id"],
                "from_account_id": sender.account,
                "from_device_id": sender.id,
                "content": envelope["content"],
                "sent_at": answer["accepted_at"],
                "request": standing is None and sender.account != body["to"],
                "group": None,
            }
            ends = at + timedelta(seconds=body["expires_in"])
            device.waiting.append(Waiting(shown, size_of(body), ends))

    def acknowledge(self, device: Device, through: int) -> bool:
        """Delete up to a number; say whether it was ever given out."""
        if through <= device.last:
            device.waiting = [one for one in device.waiting if one.shown["seq"] > through]
        return through <= device.last

    def stand(self, account: str, peer: str, state: str | None) -> None:
        """Have an account accept, block or forget another one."""
        before = self.contacts.pop((account, peer), None)
        if state == "blocked" and before in ("accepted", "blocked after accepted"):
            state = "blocked after accepted"
        if state is not None:
            self.contacts[account, peer] = state

    def clean(self, now: datetime) -> None:
        """Make the room of what has expired, and forget client ids after a day."""
        for device in self.devices:
            device.waiting = [one for one in device.waiting if one.expires_at > now]
            day_ago = now - timedelta(days=1)
            device.sent = {name: one for name, one in device.sent.items() if one[1] >= day_ago}


def size_of(body: Document) -> int:
    """Count the bytes that each device of a message gets."""
    return len(body["envelopes"][0]["content"]) * 3 // 4
