"""What a store holds of its record: the newest structure, and every commit's own record (docs/design/0008)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pfs.commit_records import CommitRecord, find_recorded_id, read_record
from pachyderm_dagster.pfs.model import RepoName, RepoType
from pachyderm_dagster.pfs.structure import StoredBranch, StoredProject, StoredRepo, Structure, list_keys, load_newest, number_of
from pachyderm_dagster.storage.objects import OBJECTS, ObjectStore, find_object_id, is_damage
from pachyderm_dagster.storage.packs import find_pack_index

_THREADS = 8
_AT_ONCE = 1024
Key = tuple[int, str]
"""A commit: the row of its repo and the id of its set."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that could not be restored as it was. `code` is stable, for programs."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a store holds of its record.

    Attributes:
        number: that of the newest structure, whether it can be read or not.
        records: the newest of each commit that was not removed.
        removed: older knowledge of commits that were squashed, by which their children find their parents.
        built_upon: the names of commits that later writes continued or read, so that they are known to have been made.
    """

    number: int
    structure: Structure | None
    records: Mapping[Key, CommitRecord]
    removed: Mapping[Key, CommitRecord]
    losses: tuple[Loss, ...]
    built_upon: frozenset[str] = frozenset()


@dataclass(slots=True)
class Rebuilt:
    """What was made again.

    Attributes:
        commits: rows by commit, in the order of `order`.
        order: parents and provenance before what was made from them, the older first.
        headless: rows of branches that must have a head and lost it.
    """

    repos: dict[int, StoredRepo]
    projects: dict[int, StoredProject]
    branches: dict[int, StoredBranch]
    order: list[Key]
    commits: dict[Key, int]
    losses: list[Loss] = field(default_factory=list)
    headless: list[int] = field(default_factory=list)


def read_holdings(store: ObjectStore, progress: Callable[[int], None]) -> Holdings:
    """Reads everything that a store holds of its record: the indexes of all packs, and the records that they name. `progress` is told of each object.

    Raises:
        StorageError, UnreachableError: when the store refuses or does not answer.
    """
    keys = list_keys(store)
    structure, damage = load_newest(store, keys)
    losses = [] if structure is None else _older_structure(structure, damage)
    newest: dict[Key, CommitRecord] = {}
    built_upon: set[str] = set()
    for records in _records(store, losses, progress):
        built_upon |= _built_upon(records)
        for found in records:
            key = (found.repo_id, found.id)
            if key not in newest or newest[key].written < found.written:
                newest[key] = found
    if structure is None:
        losses.append(Loss("structure-missing", "the store holds no structure: pipelines, triggers, descriptions and branches without a commit are not known"))
        return Holdings(number_of(keys), None, newest, {}, tuple(losses), frozenset(built_upon))
    gone = set(structure.removed)
    known = {repo.id for repo in structure.repos}
    deleted = {key for key in newest if key[0] not in known and key[0] <= structure.last_rows.get("repo", 0)}
    kept = {key: record for key, record in newest.items() if key not in gone and key not in deleted}
    squashed = {key: record for key, record in newest.items() if key in gone}
    return Holdings(number_of(keys), structure, kept, squashed, tuple(losses), frozenset(built_upon))


def named(record: CommitRecord, id: str | None = None) -> str:
    """A commit's name, or that of another of its repo."""
    return f"{RepoName(record.project, record.repo, RepoType(record.repo_type))}@{id or record.id}"


def _older_structure(structure: Structure, damage: Sequence[str]) -> list[Loss]:
    told = f"projects, repos, branches, triggers and pipelines are as they were at {structure.written:%Y-%m-%d %H:%M:%S} UTC, but for what commits tell"
    return [Loss("structure-damaged", f"{reason}; {told}") for reason in damage]


def _records(store: ObjectStore, losses: list[Loss], progress: Callable[[int], None]) -> Iterator[list[CommitRecord]]:
    """The records of each pack."""

    def read(found: tuple[bytes, int]) -> tuple[list[CommitRecord], Loss | None]:
        object_id, size = found
        try:
            index = find_pack_index(store, object_id, size) or ()
            return [read_record(store, ref) for blob_id, ref in index if find_recorded_id(blob_id) is not None], None
        except PachydermError as error:
            if not is_damage(error):
                raise
            return [], Loss("record-damaged", f"{error.message}; commits that only it records are lost")

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="indexes") as pool:
        objects = ((object_id, info.size) for info in store.list(OBJECTS) if (object_id := find_object_id(info.key)) is not None)
        for group in _groups(objects):
            for records, loss in pool.map(read, group):
                losses += [loss] if loss is not None else []
                progress(1)
                yield records


def _built_upon(records: Sequence[CommitRecord]) -> set[str]:
    """What the records of a pack continue or read and do not bring themselves: their writer found it made. What lies beside them may have failed with them."""
    brought = {named(record) for record in records}
    parents = {named(record, record.parent) for record in records if record.parent is not None}
    read = {f"{RepoName(source.project, source.repo, RepoType(source.type))}@{source.id}" for record in records for source in record.provenance}
    return (parents | read) - brought


def _groups(objects: Iterable[tuple[bytes, int]]) -> Iterator[list[tuple[bytes, int]]]:
    group: list[tuple[bytes, int]] = []
    for found in objects:
        group.append(found)
        if len(group) == _AT_ONCE:
            yield group
            group = []
    yield group
