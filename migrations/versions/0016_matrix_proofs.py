"""in which session a Matrix user proved a number last."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration; who validated a number before does so again, or binds it."""
    with op.batch_alter_table("matrix_users") as batch_op:
        batch_op.add_column(sa.Column("validated_session", sa.LargeBinary(32), nullable=True))


def downgrade() -> None:
    """Take it back."""
    with op.batch_alter_table("matrix_users") as batch_op:
        batch_op.drop_column("validated_session")
