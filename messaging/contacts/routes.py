"""Routes of contacts: whom the caller's account accepts, and whom it has blocked."""

from flask import current_app

from core.api import Api
from messaging.contacts.problems import TooManyContacts
from messaging.contacts.schemas import (
    ContactAnswer,
    ContactChange,
    ContactsAnswer,
    ContactsQuery,
)
from messaging.contacts.service import ContactService, wire_state
from tokens.authenticate import Caller, authenticate_device
from tokens.problems import AccountNotFound
from tokens.routes import AUTHENTICATION, parse_account_id
from tokens.schemas import AccountPath

contacts_api = Api(
    "contacts",
    __name__,
    description="Who is in touch with whom, and who is blocked",
    authenticate=authenticate_device,
    problems=AUTHENTICATION,
)


def _contacts() -> ContactService:
    service: ContactService = current_app.extensions["kith"].messaging.contacts
    return service


@contacts_api.operation(
    "PUT",
    "/contacts/<account_id>",
    answer=None,
    status=204,
    problems=(AccountNotFound, TooManyContacts),
)
def set_contact(caller: Caller, path: AccountPath, body: ContactChange) -> None:
    """Accept an account, or block it."""
    _contacts().set_state(caller, parse_account_id(path), body.state)


@contacts_api.operation(
    "DELETE", "/contacts/<account_id>", answer=None, status=204, problems=(AccountNotFound,)
)
def forget_contact(caller: Caller, path: AccountPath) -> None:
    """Stand to an account as if they had never met."""
    _contacts().forget(caller, parse_account_id(path))


@contacts_api.operation("GET", "/contacts", answer=ContactsAnswer)
def list_contacts(caller: Caller, query: ContactsQuery) -> ContactsAnswer:
    """List accounts that the caller's account has accepted, written to or blocked."""
    contacts, more = _contacts().page(caller, query.state, query.after, query.limit)
    return ContactsAnswer(
        contacts=[
            ContactAnswer(
                account_id=contact.peer_id, state=wire_state(contact.state), since=contact.since
            )
            for contact in contacts
        ],
        more=more,
    )
