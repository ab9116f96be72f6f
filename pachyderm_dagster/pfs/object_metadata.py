"""What users note on objects: a map of texts on the cluster and on each project, repo, branch and commit."""

import enum
import json
from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.errors import ExistsError, InvalidError, NotFoundError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import references, repos
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, checked_project_name
from pachyderm_dagster.pfs.paths import shown
from pachyderm_dagster.pfs.references import parse_reference, parse_repo

CLUSTER_PICKER = "."


class ObjectKind(enum.StrEnum):
    """What can be noted on."""

    CLUSTER = "cluster"  # all of the home
    PROJECT = "project"
    REPO = "repo"
    BRANCH = "branch"
    COMMIT = "commit"


class Operation(enum.StrEnum):
    """What an edit does to the map."""

    ADD = "add"  # one key, which must be new
    EDIT = "edit"  # one key, which must be there
    DELETE = "delete"  # one key, which must be there
    REPLACE = "replace"  # the whole map


class MetadataEdit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One edit of one object's map.

    Args:
        picker: the object, named in full: nothing of it is left to the project that is active.
        key, value: of `add` and `edit`; `delete` has no value.
        entries: the map of `replace`.
    """

    kind: ObjectKind
    picker: str
    operation: Operation
    key: str = ""
    value: str = ""
    entries: dict[str, str] = {}

    def __str__(self) -> str:
        match self.operation:
            case Operation.REPLACE:
                data = json.dumps(self.entries)
            case Operation.DELETE:
                data = self.key
            case _:
                data = f"{self.key}={self.value}"
        return f"{self.kind} {self.picker} {self.operation} {data}"


def parse_edit(kind: str, picker: str, operation: str, data: str, *, project: str = DEFAULT_PROJECT) -> MetadataEdit:
    """Reads an edit as it is written: what kind of object, which one, what to do, with what.

    Args:
        picker: a project, repo, `repo@branch` or commit's reference; `.` for the cluster.
        data: `KEY=VALUE`, the key alone for `delete`, a JSON object of texts for `replace`.

    Raises:
        InvalidError: `metadata-invalid`, `name-invalid`, `reference-invalid`.
    """
    if kind not in tuple(ObjectKind):
        raise InvalidError("metadata-invalid", f"{kind!r} has no metadata; it is kept on {', '.join(ObjectKind)}")
    if operation not in tuple(Operation):
        raise InvalidError("metadata-invalid", f"{operation!r} is no edit of metadata; edits are {', '.join(Operation)}")
    named = _full_name(ObjectKind(kind), picker, project)
    if operation == Operation.REPLACE:
        return MetadataEdit(ObjectKind(kind), named, Operation.REPLACE, entries=_parse_entries(data))
    key, equals, value = data.partition("=") if operation != Operation.DELETE else (data, "", "")
    if not key or (operation != Operation.DELETE and not equals):
        form = "KEY" if operation == Operation.DELETE else "KEY=VALUE"
        raise InvalidError("metadata-invalid", f"{data!r} cannot be used to {operation} metadata; write {form}")
    return MetadataEdit(ObjectKind(kind), named, Operation(operation), key, value)


def edit_metadata(txn: Transaction, edits: Sequence[MetadataEdit]) -> None:
    """Does all edits in their order.

    Raises:
        ExistsError: `metadata-key-exists`, for `add`.
        NotFoundError: `metadata-key-not-found`, for `edit` and `delete`; and what finding the object raises.
    """
    for edit in edits:
        found = read_metadata(txn, edit.kind, edit.picker)
        _write(txn, edit.kind, edit.picker, _edited(found, edit))


def read_metadata(txn: Transaction, kind: ObjectKind, picker: str = CLUSTER_PICKER) -> dict[str, str]:
    """The map of an object, which is named in full; raises what finding it raises."""
    if kind is ObjectKind.CLUSTER:
        return {row.key: row.value for row in txn.all(sa.select(t.cluster_metadata).order_by(t.cluster_metadata.c.key))}
    table, row_id = _row(txn, kind, picker)
    row = txn.first(sa.select(table.c.metadata).where(table.c.id == row_id))
    assert row is not None
    return dict(row.metadata)


def _full_name(kind: ObjectKind, picker: str, project: str) -> str:
    match kind:
        case ObjectKind.CLUSTER:
            if picker != CLUSTER_PICKER:
                raise InvalidError("metadata-invalid", f"{picker!r} names no cluster; there is one, written {CLUSTER_PICKER!r}")
            return picker
        case ObjectKind.PROJECT:
            return checked_project_name(picker)
        case ObjectKind.REPO:
            return str(parse_repo(picker, project=project))
        case ObjectKind.BRANCH:
            return str(parse_reference(picker, project=project).branch())
        case ObjectKind.COMMIT:
            return str(parse_reference(picker, project=project).without_path())


def _parse_entries(data: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(data, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise InvalidError(
            "metadata-invalid", f'{shown(data)} cannot replace metadata; write a JSON object whose values are texts, as \'{{"key": "value"}}\''
        ) from error


def _edited(found: Mapping[str, str], edit: MetadataEdit) -> dict[str, str]:
    match edit.operation:
        case Operation.REPLACE:
            return dict(edit.entries)
        case Operation.ADD:
            if edit.key in found:
                raise ExistsError("metadata-key-exists", f"metadata of {_shown(edit)} has the key {edit.key!r} already; `edit` changes it")
            return {**found, edit.key: edit.value}
        case Operation.EDIT | Operation.DELETE:
            if edit.key not in found:
                keys = ", ".join(map(repr, found)) or "none yet"
                raise NotFoundError("metadata-key-not-found", f"metadata of {_shown(edit)} has no key {edit.key!r}; keys: {keys}; `add` makes one")
            rest = {**found, edit.key: edit.value}
            return rest if edit.operation is Operation.EDIT else {key: value for key, value in rest.items() if key != edit.key}


def _shown(edit: MetadataEdit) -> str:
    return "the cluster" if edit.kind is ObjectKind.CLUSTER else f"{edit.kind} '{edit.picker}'"


def _write(txn: Transaction, kind: ObjectKind, picker: str, entries: Mapping[str, str]) -> None:
    if kind is ObjectKind.CLUSTER:
        txn.run(sa.delete(t.cluster_metadata))
        for key, value in entries.items():
            txn.run(sa.insert(t.cluster_metadata).values(key=key, value=value))
        return
    table, row_id = _row(txn, kind, picker)
    txn.run(sa.update(table).where(table.c.id == row_id).values(metadata=dict(entries)))


def _row(txn: Transaction, kind: ObjectKind, picker: str) -> tuple[sa.Table, int]:
    match kind:
        case ObjectKind.PROJECT:
            return t.project, repos.ensure_project(txn, picker)
        case ObjectKind.REPO:
            return t.repo, repos.get_repo(txn, parse_repo(picker))
        case ObjectKind.BRANCH:
            return t.branch, references.branch_row(txn, parse_reference(picker).branch()).id
        case ObjectKind.COMMIT:
            return t.commit, references.find_commit(txn, parse_reference(picker))
        case ObjectKind.CLUSTER:
            raise AssertionError("the cluster has a table of its own")
