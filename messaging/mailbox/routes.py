"""Routes of messages."""

from flask import current_app

from core.api import Api
from messaging.groups.problems import GroupChanged, GroupNotFound
from messaging.mailbox.problems import (
    AcknowledgementAhead,
    ClientIdReused,
    DevicesMismatched,
    MailboxFull,
    MessageRateLimited,
    RecipientBlocked,
)
from messaging.mailbox.schemas import (
    AcceptedAnswer,
    Acknowledgement,
    IncomingMessage,
    MailboxAnswer,
    MailboxQuery,
    MissedMessages,
    OutgoingMessage,
)
from messaging.mailbox.service import MessageService
from tokens.authenticate import Caller, authenticate_device
from tokens.problems import AccountNotFound
from tokens.routes import AUTHENTICATION

messages_api = Api(
    "messages",
    __name__,
    description="Ciphertext for each device, in order, until it is acknowledged",
    authenticate=authenticate_device,
    problems=AUTHENTICATION,
)


def _messages() -> MessageService:
    service: MessageService = current_app.extensions["kith"].messaging.messages
    return service


@messages_api.operation(
    "POST",
    "/messages",
    answer=AcceptedAnswer,
    status=202,
    problems=(
        AccountNotFound,
        RecipientBlocked,
        ClientIdReused,
        DevicesMismatched,
        GroupChanged,
        GroupNotFound,
        MailboxFull,
        MessageRateLimited,
    ),
)
def send_message(caller: Caller, body: OutgoingMessage) -> tuple[AcceptedAnswer, int]:
    """Send a message to all devices of an account or a group, or to none."""
    accepted = _messages().send(body.read(caller))
    return AcceptedAnswer.model_validate(accepted, from_attributes=True), 202


@messages_api.operation("GET", "/messages", answer=MailboxAnswer)
def fetch_messages(caller: Caller, query: MailboxQuery) -> MailboxAnswer:
    """Fetch the oldest messages of the calling device, or wait for the first one."""
    service = _messages()
    # First: whatever has a lower number than this mark is then among the messages, or behind them.
    missed = service.missed(caller)
    found, more = service.fetch(caller, query.limit, query.wait)
    return MailboxAnswer(
        messages=[IncomingMessage.show(one) for one in found],
        more=more,
        missed=missed and MissedMessages(since=missed.since, through=missed.through),
    )


@messages_api.operation(
    "POST", "/messages/ack", answer=None, status=204, problems=(AcknowledgementAhead,)
)
def acknowledge_messages(caller: Caller, body: Acknowledgement) -> None:
    """Delete the calling device's messages up to and including one."""
    _messages().acknowledge(caller, body.through)
