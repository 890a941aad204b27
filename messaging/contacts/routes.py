"""Routes of contacts."""

from collections.abc import Callable

from core.api import Api
from messaging.contacts.problems import TooManyContacts
from messaging.contacts.schemas import ContactAnswer, ContactChange, ContactsAnswer, ContactsQuery
from messaging.contacts.service import ContactService
from tokens.devices import Caller
from tokens.problems import AccountNotFound
from tokens.routes import AUTHENTICATION, parse_account_id
from tokens.schemas import AccountPath


def contacts_api(contacts: ContactService, authenticate: Callable[[], Caller]) -> Api:
    """Return the routes under `/contacts`."""
    api = Api(
        "contacts",
        __name__,
        description="Accounts that an account accepted or blocked",
        authenticate=authenticate,
        problems=AUTHENTICATION,
    )

    @api.operation(
        "PUT",
        "/contacts/<account_id>",
        answer=None,
        status=204,
        problems=(AccountNotFound, TooManyContacts),
    )
    def set_contact(caller: Caller, path: AccountPath, body: ContactChange) -> None:
        """Accept an account, or block it."""
        contacts.set_state(caller, parse_account_id(path), body.state)

    @api.operation(
        "DELETE", "/contacts/<account_id>", answer=None, status=204, problems=(AccountNotFound,)
    )
    def forget_contact(caller: Caller, path: AccountPath) -> None:
        """Forget an account, as if the two had never been in touch."""
        contacts.forget(caller, parse_account_id(path))

    @api.operation("GET", "/contacts", answer=ContactsAnswer)
    def list_contacts(caller: Caller, query: ContactsQuery) -> ContactsAnswer:
        """List accounts that the caller's account has accepted, written to or blocked."""
        found, more = contacts.page(caller, query.state, query.after, query.limit)
        return ContactsAnswer(contacts=[ContactAnswer.of(one) for one in found], more=more)

    return api
