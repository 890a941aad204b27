"""What can go wrong with messages, mailboxes, keys and groups."""

from core.problems import Problem


class DevicesMismatched(Problem):
    """The envelopes are not exactly for the recipient's devices; nothing was stored.

    Members: `missing` devices have no envelope, `extra` ones are not the recipient's, `stale` ones have
    published keys under another registration id, or none. None of the three when the message had one
    content for all devices of a group.
    """

    code, status, title = "devices-mismatched", 409, "The recipient has other devices"


class ClientIdReused(Problem):
    """The device sent another message under this client id within a day."""

    code, status, title = "client-id-reused", 409, "This client id was used for another message"


class MailboxFull(Problem):
    """A device of the recipient has as much waiting as it may; nothing was stored."""

    code, status, title = "mailbox-full", 429, "The recipient's mailbox is full"


class AcknowledgementAhead(Problem):
    """The acknowledgement names a message that was never put into this mailbox."""

    code, status, title = "acknowledgement-ahead", 422, "There is no such message yet"


class KeysDiffer(Problem):
    """The digest is not that of the keys that are handed out, or there are none."""

    code, status, title = "keys-differ", 409, "Other keys are published"


class TooManyKeyUploads(Problem):
    """The device uploaded keys as often as it may."""

    code, status, title = "too-many-key-uploads", 429, "Too many uploads of keys"


class TooManyKeyFetches(Problem):
    """The account took keys as often as it may, of this account or in all; none were handed out."""

    code, status, title = "too-many-key-fetches", 429, "Too many keys were taken"


class RecipientBlocked(Problem):
    """The sender has blocked the recipient; nothing was stored."""

    code, status, title = "recipient-blocked", 409, "You have blocked this account"


class MessageRateLimited(Problem):
    """The sender has written as much as it may, or to as many strangers; nothing was stored."""

    code, status, title = "message-rate-limited", 429, "Too many messages"


class TooManyContacts(Problem):
    """The account has accepted or blocked as many others as it may by hand."""

    code, status, title = "too-many-contacts", 409, "The account has too many contacts"


class UpgradeRequired(Problem):
    """The stream is spoken over a WebSocket of version 13; the request does not ask for one."""

    code, status, title = "upgrade-required", 426, "This route is a WebSocket"

    def headers(self) -> dict[str, str]:
        """Say what to upgrade to (RFC 9110 section 15.5.22, RFC 6455 section 4.4)."""
        return super().headers() | {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
        }


class SubprotocolUnknown(Problem):
    """None of the subprotocols that the client offers for the stream is one of it."""

    code, status, title = "subprotocol-unknown", 400, "The stream has no such subprotocol"


class FrameUnsupported(Problem):
    """The service knows no frame of this type, which a newer one may; the socket goes on."""

    code, status, title = "frame-unsupported", 422, "There is no frame of this type"


class TooManySignals(Problem):
    """The device sends more signals than it may; this one was not passed on."""

    code, status, title = "too-many-signals", 429, "Too many signals"


class GroupNotFound(Problem):
    """There is no such group, or the caller is not in it, which is not told apart."""

    code, status, title = "group-not-found", 404, "There is no such group"


class GroupChanged(Problem):
    """The group has another version by now; nothing was done. Member: `version`, the current one."""

    code, status, title = "group-changed", 409, "The group has changed"


class NotAnAdmin(Problem):
    """What was asked for is for admins of the group."""

    code, status, title = "not-an-admin", 403, "Only an admin may do this"


class NotJoined(Problem):
    """The account was invited to the group, and has not accepted."""

    code, status, title = "not-joined", 403, "The invitation was not accepted"


class LastAdmin(Problem):
    """The group would be left without an admin."""

    code, status, title = "last-admin", 409, "The group needs an admin"


class MemberNotFound(Problem):
    """The account that was named is not in the group."""

    code, status, title = "member-not-found", 404, "There is no such member"


class AccountsUnknown(Problem):
    """Some of the accounts that were named are not there; member `unknown`. Nothing happened."""

    code, status, title = "accounts-unknown", 422, "Some accounts do not exist"


class GroupFull(Problem):
    """The group would have more members than it may."""

    code, status, title = "group-full", 409, "The group has too many members"


class TooManyGroups(Problem):
    """The account is in as many groups as it may be."""

    code, status, title = "too-many-groups", 409, "The account is in too many groups"


class GroupRateLimited(Problem):
    """The account made or changed too many groups, or invited too many strangers. Nothing happened."""

    code, status, title = "group-rate-limited", 429, "Too much was done with groups"
