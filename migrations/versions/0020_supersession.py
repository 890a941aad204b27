"""verifications know who started them, where another door knows that, so that a start ends only its sender's."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Apply this migration."""
    with op.batch_alter_table("verifications", recreate="never") as batch_op:
        batch_op.add_column(sa.Column("started_by", sa.LargeBinary(16), nullable=True))


def downgrade() -> None:
    """Take this migration back."""
    with op.batch_alter_table("verifications", recreate="never") as batch_op:
        batch_op.drop_column("started_by")
