"""the directory's changes and epochs, and lookup budgets."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "directory_changes",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("epoch", sa.SmallInteger(), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_directory_changes")),
        info={"shard_by": None},
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("directory_changes") as batch_op:
        batch_op.create_index(
            batch_op.f("ix_directory_changes_epoch_transaction_id"),
            ["epoch", "transaction_id"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_directory_changes_changed_at"), ["changed_at"], unique=False
        )
    op.create_table(
        "discovery_budgets",
        sa.Column("subject", sa.LargeBinary(length=16), nullable=False),
        sa.Column("tier", sa.String(length=32), nullable=True),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.SmallInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), nullable=False),
        sa.Column("free", sa.BigInteger(), nullable=False),
        sa.Column("recent", sa.LargeBinary(length=128), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_discovery_budgets")),
        info={"shard_by": "subject"},
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("discovery_budgets") as batch_op:
        batch_op.create_index(batch_op.f("ix_discovery_budgets_at_us"), ["at_us"], unique=False)
    with op.batch_alter_table("discovery_epochs") as batch_op:
        batch_op.add_column(
            sa.Column("state", sa.String(length=10), server_default="open", nullable=False)
        )
        batch_op.add_column(
            sa.Column("changed_in", sa.BigInteger(), server_default="0", nullable=False)
        )
        batch_op.add_column(sa.Column("cursor", sa.LargeBinary(length=32), nullable=True))
        batch_op.add_column(
            sa.Column("forgotten", sa.BigInteger(), server_default="0", nullable=False)
        )


def downgrade() -> None:
    """Take this migration back."""
    # An epoch that is not open, and its entries, are of no use to the version before.
    op.execute(
        "DELETE FROM directory_entries WHERE epoch IN"
        " (SELECT number FROM discovery_epochs WHERE state <> 'open')"
    )
    op.execute("DELETE FROM discovery_epochs WHERE state <> 'open'")
    with op.batch_alter_table("discovery_epochs") as batch_op:
        for name in ("forgotten", "cursor", "changed_in", "state"):
            batch_op.drop_column(name)
    op.drop_table("discovery_budgets")
    op.drop_table("directory_changes")
