"""What the egress of a job wrote."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds a column."""
    op.add_column("job", sa.Column("delivered", sa.JSON(), nullable=True))
