"""Which pipelines have a process that stays: services and spouts."""

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.spec import PipelineSpec


def list_staying(txn: Transaction, chosen: sa.ColumnElement[bool]) -> dict[RepoName, PipelineSpec]:
    """The services and spouts among the pipelines whose rows are chosen, by name, as they are now."""
    spec = t.pipeline_version.c.spec
    # Asked twice a second, so most pipelines are passed over by their text; a command may have these words too.
    words = sa.or_(spec.contains('"service":'), spec.contains('"spout":'))
    rows = txn.all(
        sa.select(t.project.c.name.label("project"), t.pipeline.c.name, spec)
        .join_from(t.pipeline, t.project)
        .join(t.pipeline_version, sa.and_(t.pipeline_version.c.pipeline_id == t.pipeline.c.id, t.pipeline_version.c.version == t.pipeline.c.version))
        .where(chosen, words)
        .order_by(t.project.c.name, t.pipeline.c.name)
    )
    found = ((RepoName(row.project, row.name), PipelineSpec.from_json(row.spec)) for row in rows)
    return {name: spec for name, spec in found if spec.runs_on}
