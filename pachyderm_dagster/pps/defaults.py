"""Defaults of pipelines: what specifications leave out, of the whole cluster and of a project (docs/design/0011)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.errors import ExistsError, NotFoundError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos

SECTION = "defaults"
_BODY = "create_pipeline_request"


@dataclass(frozen=True, slots=True)
class Defaults:
    """The defaults of one project, or of the cluster."""

    project: str | None
    """None: of the cluster."""
    body: Mapping[str, Any]
    """What a specification gets where it says nothing, by the names of its fields."""

    @property
    def document(self) -> dict[str, Any]:
        """As they are written."""
        return {_BODY: dict(self.body)}

    def __str__(self) -> str:
        return "of the cluster" if self.project is None else f"of project '{self.project}'"


class StoredDefaults(msgspec.Struct, frozen=True):
    """Defaults as the store keeps them; `project_id` is a row."""

    project_id: int | None
    document: str


def find_defaults(txn: Transaction, project: str | None) -> Defaults | None:
    """The defaults of a project, or of the cluster; None when there are none.

    Raises:
        NotFoundError: `project-not-found`.
    """
    row = txn.first(sa.select(t.pipeline_defaults.c.document).where(_of(txn, project)))
    return None if row is None else Defaults(project, json.loads(row.document))


def get_defaults(txn: Transaction, project: str | None) -> Defaults:
    """The defaults of a project, or of the cluster.

    Raises:
        NotFoundError: `project-not-found`, `defaults-not-found`.
    """
    found = find_defaults(txn, project)
    if found is None:
        raise NotFoundError("defaults-not-found", f"there are no defaults {Defaults(project, {})}; `pachctl create defaults` makes some")
    return found


def set_defaults(txn: Transaction, defaults: Defaults, *, update: bool = False) -> None:
    """Makes these the defaults, or with `update` puts them in the place of those that are there. Pipelines stay as they are.

    Raises:
        NotFoundError: `project-not-found`.
        ExistsError: `defaults-exist`.
    """
    if find_defaults(txn, defaults.project) is not None:
        if not update:
            raise ExistsError("defaults-exist", f"there are defaults {defaults} already; `pachctl update defaults` replaces them")
        _remove(txn, defaults.project)
    project_id = None if defaults.project is None else repos.ensure_project(txn, defaults.project)
    txn.insert(t.pipeline_defaults, project_id=project_id, document=json.dumps(defaults.body))


def delete_defaults(txn: Transaction, project: str | None) -> Defaults:
    """Removes defaults and returns them as they were. Pipelines stay as they are.

    Raises:
        NotFoundError: `project-not-found`, `defaults-not-found`.
    """
    found = get_defaults(txn, project)
    _remove(txn, project)
    return found


def delete_all_defaults(txn: Transaction) -> None:
    """Removes those of the cluster and of every project."""
    txn.run(sa.delete(t.pipeline_defaults))


def bodies_for(txn: Transaction, project: str) -> list[Mapping[str, Any]]:
    """What specifications of pipelines in a project are laid upon: the defaults of the cluster, then those of the project, which need not exist yet."""
    rows = txn.all(
        sa.select(t.pipeline_defaults)
        .join_from(t.pipeline_defaults, t.project, isouter=True)
        .where(sa.or_(t.pipeline_defaults.c.project_id.is_(None), t.project.c.name == project))
    )
    return [json.loads(row.document) for row in sorted(rows, key=lambda row: row.project_id is not None)]


def take_defaults(txn: Transaction) -> list[StoredDefaults]:
    """All defaults, for the store."""
    return [StoredDefaults(row.project_id, row.document) for row in txn.all(sa.select(t.pipeline_defaults).order_by(t.pipeline_defaults.c.id))]


def restore_defaults(txn: Transaction, stored: Sequence[StoredDefaults]) -> None:
    """Puts what the store kept into an empty record."""
    for one in stored:
        txn.insert(t.pipeline_defaults, project_id=one.project_id, document=one.document)


def _of(txn: Transaction, project: str | None) -> sa.ColumnElement[bool]:
    column = t.pipeline_defaults.c.project_id
    return column.is_(None) if project is None else column == repos.ensure_project(txn, project)


def _remove(txn: Transaction, project: str | None) -> None:
    txn.run(sa.delete(t.pipeline_defaults).where(_of(txn, project)))
