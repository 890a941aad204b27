"""The table of verifications."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Verification(Base):
    """One run at proving a number. It holds no code: codes are derived (docs/adr/0001)."""

    __tablename__ = "verifications"
    __table_args__ = (
        Index(None, "expires_at"),
        {"info": {"shard_by": "number_digest"}, "sqlite_with_rowid": False},
    )

    #: Keyed digest of the number; with `nonce` it is the id that clients know.
    number_digest: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    nonce: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    e164: Mapped[str] = mapped_column(String(16))
    #: Where the number is from: ISO 3166, or "001".
    country: Mapped[str] = mapped_column(String(3))
    #: Keyed digest of the network that started it.
    requester: Mapped[bytes] = mapped_column(LargeBinary(16))
    #: Keyed digest of the wider network around it; a service has none.
    wider: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    #: pending, verified, failed or canceled; a pending one whose time is over is expired.
    status: Mapped[str] = mapped_column(String(16))
    channel: Mapped[str] = mapped_column(String(8))
    code_length: Mapped[int] = mapped_column()
    #: Which server secret the code is derived from.
    key_id: Mapped[str] = mapped_column(String(8))
    checks_used: Mapped[int] = mapped_column(default=0)
    sms_count: Mapped[int] = mapped_column(default=0)
    call_count: Mapped[int] = mapped_column(default=0)
    last_sms_at: Mapped[datetime | None] = mapped_column()
    last_call_at: Mapped[datetime | None] = mapped_column()
    locale: Mapped[str | None] = mapped_column(String(35))
    app_hash: Mapped[str | None] = mapped_column(String(11))
    web_origin: Mapped[str | None] = mapped_column(String(100))
    #: The service that proves the number through another door; only it finds the row, and only there.
    service: Mapped[str | None] = mapped_column(String(64))
    #: Who started it, where another door knows that: the first 16 bytes of SHA-256 of a name.
    started_by: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    #: What that service wants the text to say, with `{{code}}` in place of the code.
    template: Mapped[str | None] = mapped_column(String(160))
    created_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()
    #: When its proof was used up, and what came of it.
    used_at: Mapped[datetime | None] = mapped_column()
    account_id: Mapped[UUID | None] = mapped_column()
    device_id: Mapped[UUID | None] = mapped_column()
    reregistered: Mapped[bool] = mapped_column(default=False)
