"""Own the calls that deliver ciphertext and empty this device's mailbox; they need the device
token.

Refuse to encrypt: what an envelope holds is the caller's.
"""

from collections.abc import Iterable

from kith.calls.base import Calls, answer, fresh_key
from kith.models import AcceptedMessage, Envelope, GroupVersion, MessagePage, base64url


class MessagingCalls(Calls):
    """Send, fetch, acknowledge."""

    def send_message(
        self,
        to: str | GroupVersion,
        envelopes: Iterable[Envelope],
        *,
        client_id: str | None = None,
        urgent: bool = True,
        expires_in: int | None = None,
    ) -> AcceptedMessage:
        """Deliver one envelope to each device of account `to`, or of the members of a group.

        client_id: 1 to 64 characters that make a repeated call deliver once; a fresh one is taken
        when none is given. urgent: whether a device without a connection is woken for it.
        expires_in: seconds after which an unfetched message is dropped. Raise DevicesMismatched,
        with `missing`, `extra` and `stale` device ids, when the envelopes do not fit; nothing is
        stored then.
        """
        body: dict[str, object] = {
            "client_id": fresh_key() if client_id is None else client_id,
            "envelopes": [_written(envelope) for envelope in envelopes],
        }
        if isinstance(to, GroupVersion):
            body["group"] = {"id": to.id, "version": to.version}
        else:
            body["to"] = to
        if not urgent:
            body["urgent"] = False
        if expires_in is not None:
            body["expires_in"] = expires_in
        return answer(AcceptedMessage, self._requests.call("POST", "/v1/messages", body))

    def fetch_messages(self, *, limit: int = 50, wait: int = 0) -> MessagePage:
        """Return the oldest unacknowledged messages, at most `limit` (1 to 100).

        wait: seconds (0 to 60) that the server holds the answer back while the mailbox is empty.
        """
        query = {"limit": limit, "wait": wait}
        return answer(
            MessagePage, self._requests.call("GET", "/v1/messages", query=query, wait=wait)
        )

    def acknowledge(self, through: int) -> None:
        """Let the server delete this device's messages up to and including number `through`."""
        self._requests.call("POST", "/v1/messages/ack", {"through": through})


def _written(envelope: Envelope) -> dict[str, object]:
    written: dict[str, object] = {
        "device_id": envelope.device_id,
        "content": base64url(envelope.content),
    }
    if envelope.registration_id is not None:
        written["registration_id"] = envelope.registration_id
    return written
