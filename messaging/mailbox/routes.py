"""Routes of messages."""

from collections.abc import Callable

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
from tokens.devices import Caller
from tokens.problems import AccountNotFound
from tokens.routes import AUTHENTICATION


def messages_api(messages: MessageService, authenticate: Callable[[], Caller]) -> Api:
    """Return the routes under `/messages`."""
    api = Api(
        "messages",
        __name__,
        description="Ciphertext for each device, in order, until it is acknowledged",
        authenticate=authenticate,
        problems=AUTHENTICATION,
    )

    @api.operation(
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
        accepted = messages.send(body.read(caller))
        return AcceptedAnswer.model_validate(accepted, from_attributes=True), 202

    @api.operation("GET", "/messages", answer=MailboxAnswer)
    def fetch_messages(caller: Caller, query: MailboxQuery) -> MailboxAnswer:
        """Fetch the oldest messages of the calling device, or wait for the first one."""
        # First: messages with lower numbers than this mark are then in the answer, or still wait.
        missed = messages.missed(caller)
        found, more = messages.fetch(caller, query.limit, query.wait)
        return MailboxAnswer(
            messages=[IncomingMessage.of(delivery) for delivery in found],
            more=more,
            missed=missed and MissedMessages(since=missed.since, through=missed.through),
        )

    @api.operation(
        "POST", "/messages/ack", answer=None, status=204, problems=(AcknowledgementAhead,)
    )
    def acknowledge_messages(caller: Caller, body: Acknowledgement) -> None:
        """Delete the calling device's messages up to and including one."""
        messages.acknowledge(caller, body.through)

    return api
