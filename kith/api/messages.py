"""Calls that send ciphertext, read this device's mailbox, and accept or block other accounts.

What an envelope contains is the caller's; `kith.messaging` encrypts.
"""

from collections.abc import Iterable

from kith.api import ApiCalls, new_idempotency_key, path_segment, without_none
from kith.models import (
    AcceptedMessage,
    ContactPage,
    ContactState,
    Envelope,
    GroupVersion,
    MessagePage,
    base64url,
)


class MessageCalls(ApiCalls):
    """Send, fetch and acknowledge messages; accept, block and list accounts."""

    def send_message(
        self,
        to: str | GroupVersion,
        envelopes: Iterable[Envelope],
        *,
        client_id: str | None = None,
        urgent: bool = True,
        expires_in: int | None = None,
    ) -> AcceptedMessage:
        """Send one envelope to each device of account `to`, or of the members of a group.

        client_id: 1 to 64 characters that make a repeated call deliver once; random by default.
        urgent: whether to wake a device without a connection. expires_in: seconds after which an
        unfetched message is deleted. Raise DevicesMismatched, with `missing`, `extra` and `stale`
        device ids, when the envelopes do not match; nothing is stored then.
        """
        body = without_none(
            client_id=new_idempotency_key() if client_id is None else client_id,
            envelopes=[
                without_none(
                    device_id=one.device_id,
                    content=base64url(one.content),
                    registration_id=one.registration_id,
                )
                for one in envelopes
            ],
            urgent=None if urgent else False,
            expires_in=expires_in,
        )
        if isinstance(to, GroupVersion):
            body["group"] = {"id": to.id, "version": to.version}
        else:
            body["to"] = to
        return self._read(AcceptedMessage, "POST", "/v1/messages", body)

    def fetch_messages(self, *, limit: int = 50, wait: int = 0) -> MessagePage:
        """Return the oldest unacknowledged messages, at most `limit` (1 to 100).

        wait: seconds (0 to 60) that the server waits for a message while the mailbox is empty.
        """
        query = {"limit": limit, "wait": wait}
        return self._read(MessagePage, "GET", "/v1/messages", query=query, wait=wait)

    def acknowledge(self, through: int) -> None:
        """Delete this device's messages up to and including number `through`."""
        self._transport.call("POST", "/v1/messages/ack", {"through": through})

    def accept(self, account_id: str) -> None:
        """Accept an account: its messages are no requests any more, and its signals arrive."""
        self._set_contact(account_id, "accepted")

    def block(self, account_id: str) -> None:
        """Drop an account's messages and signals; the account does not learn it."""
        self._set_contact(account_id, "blocked")

    def _set_contact(self, account_id: str, state: ContactState) -> None:
        self._transport.call("PUT", f"/v1/contacts/{path_segment(account_id)}", {"state": state})

    def forget(self, account_id: str) -> None:
        """Remove an account from the contacts; this also lifts a block."""
        self._transport.call("DELETE", f"/v1/contacts/{path_segment(account_id)}")

    def contacts(
        self, *, state: ContactState | None = None, after: str | None = None, limit: int = 100
    ) -> ContactPage:
        """Return accounts that this one has accepted, written to or blocked, by id, at most `limit`
        (1 to 1000).

        after: the last id of the page before.
        """
        query = without_none(state=state, after=after, limit=limit)
        return self._read(ContactPage, "GET", "/v1/contacts", query=query)
