"""Own the calls about whom the own account accepts and whom it has blocked; they need the device
token.
"""

from kith.calls.base import Calls, answer, segment
from kith.models import ContactPage, ContactState


class ContactCalls(Calls):
    """Accept, block, forget and list accounts."""

    def accept(self, account_id: str) -> None:
        """Take an account's messages as no requests any more, and let its signals through."""
        self._set_contact(account_id, "accepted")

    def block(self, account_id: str) -> None:
        """Have an account's messages and signals dropped; it is not told."""
        self._set_contact(account_id, "blocked")

    def _set_contact(self, account_id: str, state: ContactState) -> None:
        self._requests.call("PUT", f"/v1/contacts/{segment(account_id)}", {"state": state})

    def forget(self, account_id: str) -> None:
        """Stand to an account as if they had never met, which also lifts a block."""
        self._requests.call("DELETE", f"/v1/contacts/{segment(account_id)}")

    def contacts(
        self, *, state: ContactState | None = None, after: str | None = None, limit: int = 100
    ) -> ContactPage:
        """Return accounts that were accepted, written to or blocked, by id, at most `limit` (1 to
        1000).

        after: the last id of the page before.
        """
        query = {"state": state, "after": after, "limit": limit}
        given = {name: value for name, value in query.items() if value is not None}
        return answer(ContactPage, self._requests.call("GET", "/v1/contacts", query=given))
