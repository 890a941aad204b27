"""rate limits are counted under their new names."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAMES = {
    "pin-tries": "pin-attempts",
    "pin-checks": "device-pin-attempts",
    "matrix-key-questions": "matrix-server-key-requests",
    "key-takes-of-account": "key-fetches-of-account",
    "key-takes": "key-fetches",
    "groups-made": "group-creations",
    "group-strangers": "group-invitations",
    "messages-to-one": "messages-to-recipient",
    "stranger-messages": "messages-to-new-recipient",
    "strangers": "new-recipients",
    "matrix-unproven-wider": "matrix-unproven-subnet",
    "sends-wider-network": "sends-subnet",
    "sends-reserve-wider-network": "sends-reserve-subnet",
}


def upgrade() -> None:
    """Apply this migration; counters go on counting."""
    _rename(NAMES)


def downgrade() -> None:
    """Take it back."""
    _rename({new: old for old, new in NAMES.items()})


def _rename(names: Mapping[str, str]) -> None:
    name = sa.table("limits", sa.column("name")).c.name
    op.execute(
        sa.update(name.table)
        .where(name.in_(names))
        .values(name=sa.case(names, value=name, else_=name))
    )
