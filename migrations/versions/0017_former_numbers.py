"""what stands for a number in blocks and limits outlives its account."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration; of the accounts there are, the own id stands for the number."""
    with op.batch_alter_table("accounts", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("number_id", sa.Uuid(), nullable=True))
    with op.batch_alter_table("contacts", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("former_id", sa.Uuid(), nullable=True))
    op.create_table(
        "former_numbers",
        sa.Column("number_digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number_id", sa.Uuid(), nullable=False),
        sa.Column("last_seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number_digest", name=op.f("pk_former_numbers")),
        info={"shard_by": "number_digest"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_former_numbers_last_seen_at"), "former_numbers", ["last_seen_at"])


def downgrade() -> None:
    """Take it back; blocked numbers are forgotten, as they were before."""
    op.drop_table("former_numbers")
    op.execute("DELETE FROM contacts WHERE state = 4")
    with op.batch_alter_table("contacts", recreate="never") as batch_op:
        batch_op.drop_column("former_id")
    with op.batch_alter_table("accounts", recreate="never") as batch_op:
        batch_op.drop_column("number_id")
