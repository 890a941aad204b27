"""A small server of keys and mailboxes for the client's tests, as docs/messaging.md describes them. A
test can lose an answer, show another key or stop in the middle.
"""

import base64
import json
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import httpx

from kith import Kith
from tests.unit.kith.canned import ok, problem

SENT_AT = "2026-11-24T10:00:00Z"


class MessageServer(httpx.MockTransport):
    """Accounts with their devices, published keys and mailboxes."""

    def __init__(self) -> None:
        """Start without accounts."""
        self.devices: dict[str, list[str]] = defaultdict(list)
        self.keys: dict[str, dict[str, Any]] = {}
        self.mailboxes: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.bodies: list[dict[str, Any]] = []
        self.missed: dict[str, dict[str, Any]] = {}
        self.strangers: set[tuple[str, str]] = set()
        #: Called after a message is stored, before it is answered.
        self.after_storing: Callable[[], None] = lambda: None
        self.before_storing: Callable[[], None] = lambda: None
        self._mark_sent: dict[tuple[str, str], dict[str, Any]] = {}
        self._seq: dict[str, int] = defaultdict(int)
        self._turns = threading.Lock()
        super().__init__(self._handle)

    def add(self, account_id: str, device_id: str) -> Kith:
        """Register a device; return its client."""
        self.devices[account_id].append(device_id)
        return self.client(account_id, device_id)

    def client(self, account_id: str, device_id: str) -> Kith:
        """Return a client of a device."""
        return Kith(
            "http://kith.test",
            f"kith_{account_id}_{device_id}",
            transport=self,
            sleep=lambda _: None,
        )

    def remove(self, account_id: str, device_id: str) -> None:
        """Sign a device out."""
        self.devices[account_id].remove(device_id)
        self.keys.pop(device_id, None)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        with self._turns:
            return self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        _, account_id, device_id = request.headers["Authorization"].split("_")
        body = json.loads(request.content) if request.content else {}
        path = request.url.path.removeprefix("/v1")
        match request.method, path.split("/")[1:]:
            case "PUT", ["keys"]:
                kept = self.keys.setdefault(device_id, {})
                kept.update(body)
                return ok()
            case "GET", ["keys", "count"]:
                return ok(
                    {
                        name: len(self.keys[device_id].get(name, []))
                        for name in ("one_time_prekeys", "one_time_kem_prekeys")
                    }
                )
            case "POST", ["keys", "check"]:
                return ok() if self.keys.get(device_id) else problem("keys-differ", 409)
            case "GET", ["keys", other]:
                wanted = request.url.params.get("device_id")
                found = [wanted] if wanted else self.devices[other]
                return ok(self._bundles([one for one in found if one != device_id]))
            case "GET", ["keys", other, "identities"]:
                return ok(self._identities(self.devices[other]))
            case "GET", ["accounts", other, "devices"]:
                return ok({"devices": [{"id": one} for one in self.devices[other]]})
            case "POST", ["messages"]:
                return self._store(account_id, device_id, body)
            case "GET", ["messages"]:
                waiting = self.mailboxes[device_id]
                page = {"messages": waiting[:50], "more": len(waiting) > 50}
                return ok(page | {"missed": self.missed.get(device_id)})
            case "POST", ["messages", "ack"]:
                if self.missed.get(device_id, {"through": 2**63})["through"] <= body["through"]:
                    del self.missed[device_id]
                self.mailboxes[device_id] = [
                    one for one in self.mailboxes[device_id] if one["seq"] > body["through"]
                ]
                return ok()
        raise AssertionError(f"{request.method} {request.url}")

    def _identities(self, device_ids: list[str]) -> dict[str, Any]:
        names = ("registration_id", "identity_key")
        return {
            "devices": [
                {"device_id": one, **{name: self.keys[one][name] for name in names}}
                for one in device_ids
                if one in self.keys
            ],
            "without_keys": [one for one in device_ids if one not in self.keys],
        }

    def _bundles(self, device_ids: list[str]) -> dict[str, Any]:
        devices, without = [], []
        for device_id in device_ids:
            kept = self.keys.get(device_id)
            if kept is None:
                without.append(device_id)
                continue
            one_time = kept.get("one_time_prekeys") or [None]
            kem = kept.get("one_time_kem_prekeys") or [kept.get("last_resort_kem_prekey")]
            devices.append(
                {
                    "device_id": device_id,
                    **{
                        name: kept[name]
                        for name in ("registration_id", "identity_key", "signed_prekey")
                    },
                    "one_time_prekey": one_time.pop(0) if one_time[0] else None,
                    "kem_prekey": kem.pop(0) if kept.get("one_time_kem_prekeys") else kem[0],
                }
            )
        return {"devices": devices, "without_keys": without}

    def _store(self, account_id: str, device_id: str, body: dict[str, Any]) -> httpx.Response:
        self.before_storing()
        known = self._mark_sent.get((device_id, body["client_id"]))
        if known is not None:
            if known["body"] != body:
                return problem("client-id-reused", 409)
            self.after_storing()
            return ok(known["answer"], 202)
        to = body["to"]
        wanted = [one for one in self.devices[to] if one != device_id]
        given = {one["device_id"]: one for one in body["envelopes"]}
        stale = [
            one
            for one in wanted
            if one in given
            and given[one].get("registration_id") not in (None, self._registration_id(one))
        ]
        missing = [one for one in wanted if one not in given]
        extra = [one for one in given if one not in wanted]
        if missing or extra or stale:
            lists = {"missing": missing, "extra": extra, "stale": stale}
            return problem("devices-mismatched", 409, **lists)
        answer = {"id": str(uuid.uuid4()), "accepted_at": SENT_AT}
        for one in wanted:
            self.put(one, account_id, device_id, given[one]["content"], answer["id"], to)
        self._mark_sent[device_id, body["client_id"]] = {"body": body, "answer": answer}
        self.bodies.append(body)
        self.after_storing()
        return ok(answer, 202)

    def put(
        self,
        device_id: str,
        from_account_id: str,
        from_device_id: str,
        content: str | bytes,
        message_id: str | None = None,
        to: str = "",
    ) -> None:
        """Put something into a mailbox, as a hostile server could."""
        if isinstance(content, bytes):
            content = base64.urlsafe_b64encode(content).rstrip(b"=").decode()
        self._seq[device_id] += 1
        self.mailboxes[device_id].append(
            {
                "seq": self._seq[device_id],
                "id": message_id or str(uuid.uuid4()),
                "from_account_id": from_account_id,
                "from_device_id": from_device_id,
                "content": content,
                "sent_at": SENT_AT,
                "request": (from_account_id, to) in self.strangers,
            }
        )

    def _registration_id(self, device_id: str) -> int | None:
        registration_id: int | None = self.keys.get(device_id, {}).get("registration_id")
        return registration_id
