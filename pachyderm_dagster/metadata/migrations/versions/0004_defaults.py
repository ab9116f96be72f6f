"""Defaults of pipelines, and specifications as their users wrote them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds a table and two columns; of versions that are there nobody knows what their users wrote."""
    op.add_column("pipeline_version", sa.Column("user_spec", sa.Text(), nullable=False, server_default=""))
    op.add_column("pipeline_version", sa.Column("user_text", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "pipeline_defaults",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_pipeline_defaults_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_defaults")),
        sa.UniqueConstraint("project_id", name=op.f("uq_pipeline_defaults_project_id")),
        sqlite_autoincrement=True,
    )
