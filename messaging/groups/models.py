"""Tables of groups and their members."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Group(Base):
    """Some accounts that are written to as one; its row is locked by whoever changes who they are."""

    __tablename__ = "groups"
    __table_args__ = {"info": {"shard_by": "id"}, "sqlite_with_rowid": False}

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    #: From 1, one more with every change of the group or of who is in it.
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column()


class GroupMember(Base):
    """An account in a group, or invited to it."""

    __tablename__ = "group_members"
    __table_args__ = {"info": {"shard_by": "group_id"}, "sqlite_with_rowid": False}

    group_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    #: 1 member, 2 admin.
    role: Mapped[int] = mapped_column(SmallInteger)
    #: 1 joined, 2 invited, 3 invited but not told.
    state: Mapped[int] = mapped_column(SmallInteger)
    #: When it came to this state.
    since: Mapped[datetime] = mapped_column()
    #: None for whoever made the group.
    invited_by: Mapped[UUID | None] = mapped_column()


class Membership(Base):
    """The way from an account to its groups; written with `GroupMember`, in the same state."""

    __tablename__ = "memberships"
    __table_args__ = {"info": {"shard_by": "account_id"}, "sqlite_with_rowid": False}

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    group_id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[int] = mapped_column(SmallInteger)
    #: What stands for the number of whose invitation it is or was; None for whoever made the group.
    invited_by: Mapped[UUID | None] = mapped_column()
