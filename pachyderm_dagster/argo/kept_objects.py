"""The objects that a home keeps, as a cluster would: workflows and what they name, CronWorkflows, EventSources and Sensors, by kind and name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pachyderm_dagster.argo.kept_files import write_whole
from pachyderm_dagster.argo.reading import read_object
from pachyderm_dagster.argo.workflows import Read, Values
from pachyderm_dagster.errors import InvalidError, NotFoundError, StorageError
from pachyderm_dagster.pps.object_names import NAME_RULE, is_object_name
from pachyderm_dagster.pps.strict import Place

MOST_OF_NAME = 200
"""Characters of a name: it is that of a file, which is written beside itself under a longer one. A cluster takes 253."""
SHORT_KINDS = {"wftmpl": "WorkflowTemplate", "cwft": "ClusterWorkflowTemplate", "cronwf": "CronWorkflow", "workflow": "Workflow"}
"""What commands call the kinds of objects that can be run, as Argo's do."""
SERVED_KINDS = ("Deployment", "ReplicaSet", "Service")
"""The kinds that are no part of workflows; `home_objects` keeps them."""


class ObjectName(msgspec.Struct, frozen=True, order=True):
    """Which object."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class KeptObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object as it was given.

    Attributes:
        document: of it, plain.
        source: where it comes from, for messages.
    """

    name: ObjectName
    document: dict[str, Any]
    source: str

    def read(self) -> Read:
        """The object itself. Errors as `read_object`."""
        return read_object(self.document, Place(f"{self.source}, as the home keeps it"), [])


def can_be_kept_as(name: str) -> bool:
    """Whether an object can be kept by that name."""
    return is_object_name(name, MOST_OF_NAME)


def name_of(read: Read) -> ObjectName:
    """By which an object is kept. One whose name is generated has what the names of its runs have in common.

    Raises:
        InvalidError: `spec-invalid`.
    """
    found = ObjectName(read.kind, read.object.metadata.base_name)
    if not can_be_kept_as(found.name):
        field = read.place.field("metadata").field("name" if read.object.metadata.name else "generateName")
        raise field.invalid(f"{read.name!r} names no object; it takes up to {MOST_OF_NAME} {NAME_RULE}")
    return found


def parse_short_name(text: str) -> ObjectName:
    """An object that can be run, as commands name it: `wftmpl/NAME`, `cwft/NAME`, `cronwf/NAME`, `workflow/NAME`.

    Raises:
        InvalidError: `workflow-name-invalid`.
    """
    kind, slash, name = text.partition("/")
    found = next((full for short, full in SHORT_KINDS.items() if kind.lower() in (short, full.lower())), None)
    if not slash or not name or found is None:
        raise InvalidError("workflow-name-invalid", f"{text!r} names no object; write KIND/NAME, with one of the kinds {', '.join(SHORT_KINDS)}")
    return ObjectName(found, name)


class KeptObjects:
    """All of a home, each a file of its own.

    Args:
        home: the home's folder.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "argo" / "objects"

    def short_names(self) -> list[str]:
        """Those that can be run, as commands name them."""
        return [f"{short}/{path.stem}" for short, kind in SHORT_KINDS.items() for path in sorted((self._folder / kind).glob("*.json"))]

    def list(self) -> list[KeptObject]:
        """All that workflows are made of, by kind and name."""
        found = (_load(path) for path in self._folder.glob("*/*.json") if path.parent.name not in SERVED_KINDS)
        return sorted(filter(None, found), key=lambda kept: kept.name)

    def of_kind(self, kind: str) -> Sequence[KeptObject]:
        """All of a kind, by name."""
        return sorted(filter(None, map(_load, self._folder.glob(f"{kind}/*.json"))), key=lambda kept: kept.name)

    def find(self, name: ObjectName) -> KeptObject | None:
        """One of them."""
        return _load(self._path(name)) if can_be_kept_as(name.name) else None

    def get(self, name: ObjectName) -> KeptObject:
        """One of them.

        Raises:
            NotFoundError: `kept-object-not-found`.
        """
        found = self.find(name)
        if found is None:
            known = ", ".join(kept.name.name for kept in self.list() if kept.name.kind == name.kind) or "none"
            raise NotFoundError("kept-object-not-found", f"the home keeps no {name.kind} {name.name!r}; those that it keeps: {known}")
        return found

    def put(self, kept: KeptObject) -> None:
        """Keeps one, in place of the one of its name."""
        path = self._path(kept.name)
        # Secrets are among them.
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        write_whole(path, msgspec.json.encode(kept))

    def delete(self, name: ObjectName) -> None:
        """Removes one, if it is there."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: ObjectName) -> Path:
        return self._folder / name.kind / f"{name.name}.json"


class KeptValues(Mapping[str, Mapping[str, str]]):
    """The values of all objects of a kind. One that cannot be read is the trouble of what asks for it, and of nothing else."""

    def __init__(self, kept: KeptObjects, kind: str) -> None:
        self._kept, self._kind = kept, kind

    def __getitem__(self, name: str) -> Mapping[str, str]:
        found = self._kept.find(ObjectName(self._kind, name))
        if found is None:
            raise KeyError(name)
        read = found.read().object
        assert isinstance(read, Values)
        return read.data

    def __iter__(self) -> Iterator[str]:
        return (one.name.name for one in self._kept.of_kind(self._kind))

    def __len__(self) -> int:
        return len(self._kept.of_kind(self._kind))


def _load(path: Path) -> KeptObject | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeptObject)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError) as error:
        kind, name = path.parent.name, path.stem
        problem = f"{kind} {name!r}, as the home keeps it in {path}, cannot be read: {error}"
        raise StorageError("kept-object-damaged", f"{problem}; remove that file, and give the object again") from error


def read_all(kept: Iterable[KeptObject]) -> list[Read]:
    """The objects themselves. Errors as `read_object`."""
    return [one.read() for one in kept]
