"""Tables of groups and their members."""

from datetime import datetime
from enum import IntEnum
from uuid import UUID

from sqlalchemy import Integer, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Role(IntEnum):
    """What a member may do."""

    MEMBER = 1
    ADMIN = 2


class MemberState(IntEnum):
    """How far an account is in a group; a smaller number is further."""

    JOINED = 1
    INVITED = 2
    #: Others see it as invited; for the account itself the group does not exist.
    WITHHELD = 3


class Group(Base):
    """Accounts that are written to as one. Every transaction that changes the members locks its row."""

    __tablename__ = "groups"
    __table_args__ = {"info": {"shard_by": "id"}, "sqlite_with_rowid": False}

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    #: Starts at 1; each change of the group or its members adds 1.
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column()


class GroupMember(Base):
    """An account in a group, or invited to it."""

    __tablename__ = "group_members"
    __table_args__ = {"info": {"shard_by": "group_id"}, "sqlite_with_rowid": False}

    group_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: A `Role`.
    role: Mapped[int] = mapped_column(SmallInteger)
    #: A `MemberState`.
    state: Mapped[int] = mapped_column(SmallInteger)
    #: Since when in this state.
    since: Mapped[datetime] = mapped_column()
    #: None for the account that created the group.
    invited_by: Mapped[UUID | None] = mapped_column()


class Membership(Base):
    """The same by account, to find its groups; written together with `GroupMember`."""

    __tablename__ = "memberships"
    __table_args__ = {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False}

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    group_id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[int] = mapped_column(SmallInteger)
    #: The number's id of the inviter, or its account if the number had none before. None for the creator.
    invited_by: Mapped[UUID | None] = mapped_column()
