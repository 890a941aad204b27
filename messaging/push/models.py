"""The table of push subscriptions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class PushSubscription(Base):
    """A push subscription and its wake-ups: of the device itself, or of the operator's webhook."""

    __tablename__ = "push_subscriptions"
    __table_args__ = (
        Index(None, "type", "due_at"),
        {"info": {"shard_by": "device_id"}, "sqlite_with_rowid": False},
    )

    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: Whether it is the operator's webhook, which has no address of the device.
    is_webhook: Mapped[bool] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(8))
    #: An endpoint or a provider's token, with which anyone can wake the device.
    address: Mapped[str] = mapped_column(String(2048))
    #: Of Web Push: P-256, uncompressed.
    p256dh: Mapped[bytes | None] = mapped_column(LargeBinary(65))
    auth: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    #: When to wake it next; None: never. While claimed, the end of the claim.
    due_at: Mapped[datetime | None] = mapped_column()
    #: Whether a process is waking it.
    is_claimed: Mapped[bool] = mapped_column(default=False)
    #: Wake-ups since the device last acknowledged something.
    wakeups_unanswered: Mapped[int] = mapped_column(Integer, default=0)
    #: Failed attempts in a row.
    failures: Mapped[int] = mapped_column(Integer, default=0)
    #: The acknowledged number of the mailbox when the claim began.
    acked_seq: Mapped[int] = mapped_column(BigInteger, default=0)
