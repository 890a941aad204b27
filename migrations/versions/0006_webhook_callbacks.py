"""Reports that were taken once."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from core.database import UtcDateTime

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "taken_reports",
        sa.Column("number_digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number_digest", "digest", name=op.f("pk_taken_reports")),
        info={"shard_by": "number_digest"},
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_taken_reports_taken_at"), "taken_reports", ["taken_at"])


def downgrade() -> None:
    """Take this migration back."""
    op.drop_index(op.f("ix_taken_reports_taken_at"), table_name="taken_reports")
    op.drop_table("taken_reports")
