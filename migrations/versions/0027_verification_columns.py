"""columns and counters of verifications and of the Matrix adapter have field terms."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0027"
down_revision: str | None = "0026"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = (
    ("matrix_tokens", "user", "matrix_user_id"),
    ("matrix_sessions", "touched_at", "updated_at"),
    ("verifications", "wider", "subnet"),
)
INDEX = "matrix_sessions", "touched_at", "updated_at"
COUNTERS = {
    "matrix-unproven-network": "matrix-unverified-network",
    "matrix-unproven-subnet": "matrix-unverified-subnet",
    "matrix-unproven": "matrix-unverified",
}


def upgrade() -> None:
    """Apply this migration."""
    for table, old, new in COLUMNS:
        op.execute(f'ALTER TABLE {table} RENAME COLUMN "{old}" TO {new}')
    _rename_index(*INDEX)
    _rename_counters(COUNTERS)


def downgrade() -> None:
    """Take it back."""
    for table, old, new in COLUMNS:
        op.execute(f'ALTER TABLE {table} RENAME COLUMN {new} TO "{old}"')
    _rename_index(INDEX[0], INDEX[2], INDEX[1])
    _rename_counters({new: old for old, new in COUNTERS.items()})


def _rename_index(table: str, old: str, new: str) -> None:
    """Rename the index of a renamed column; SQLite can only create it again."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER INDEX ix_{table}_{old} RENAME TO ix_{table}_{new}")
        return
    op.drop_index(op.f(f"ix_{table}_{old}"), table)
    op.create_index(op.f(f"ix_{table}_{new}"), table, [new])


def _rename_counters(names: Mapping[str, str]) -> None:
    name = sa.table("limits", sa.column("name")).c.name
    op.execute(
        sa.update(name.table)
        .where(name.in_(names))
        .values(name=sa.case(names, value=name, else_=name))
    )
