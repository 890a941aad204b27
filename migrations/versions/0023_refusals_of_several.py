"""one row for refusals of several countries, channels and kinds."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS: tuple[tuple[str, sa.types.TypeEngine[object]], ...] = (
    ("country", sa.String(length=3)),
    ("channel", sa.String(length=8)),
    ("resend", sa.Boolean()),
)


def upgrade() -> None:
    """Apply this migration; what is stored already stays as it is."""
    with op.batch_alter_table("refusals", table_kwargs={"sqlite_with_rowid": False}) as batch_op:
        for name, kind in COLUMNS:
            batch_op.alter_column(name, existing_type=kind, nullable=True)


def downgrade() -> None:
    """Take it back; refusals of several are deleted, which the columns before cannot hold."""
    op.execute("DELETE FROM refusals WHERE country IS NULL OR channel IS NULL OR resend IS NULL")
    with op.batch_alter_table("refusals", table_kwargs={"sqlite_with_rowid": False}) as batch_op:
        for name, kind in COLUMNS:
            batch_op.alter_column(name, existing_type=kind, nullable=False)
