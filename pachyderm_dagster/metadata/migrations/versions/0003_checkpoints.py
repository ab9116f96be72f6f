"""The datums of an unfinished job that have ended."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds a column; an unfinished job has none until it is run on."""
    op.add_column("job", sa.Column("checkpoint", sa.LargeBinary(), nullable=True))
