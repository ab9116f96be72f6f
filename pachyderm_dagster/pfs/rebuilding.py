"""Rebuilding a lost record from its store: the newest structure, and every commit's own record (docs/design/0008)."""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.errors import PachydermError, StateError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.counting import count_on
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits
from pachyderm_dagster.pfs.commit_records import CommitRecord, find_recorded_id, read_record
from pachyderm_dagster.pfs.model import RepoName, RepoType
from pachyderm_dagster.pfs.provenance import find_unread
from pachyderm_dagster.pfs.store_ids import StoreMark, check_mark, find_mark, replace_mark
from pachyderm_dagster.pfs.structure import NUMBERED, StoredBranch, StoredProject, StoredRepo, Structure, list_keys, load_newest, number_of
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
    """

    repos: dict[int, StoredRepo]
    projects: dict[int, StoredProject]
    branches: dict[int, StoredBranch]
    order: list[Key]
    commits: dict[Key, int]
    losses: list[Loss] = field(default_factory=list)


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


def take_store(store: ObjectStore, own: str | None, new: str) -> None:
    """Makes a store that of the record `new`, which is to be rebuilt from it: to be called before it is read, so that what another one still writes is found.

    Args:
        own: the id of the record that is there now; None of one that is empty.

    Raises:
        StorageError: `store-of-another`, when the record that is there is of another store.
    """
    try:
        mark = find_mark(store)
    except StorageError as error:
        if error.code != "store-unmarked":
            raise
        mark = None
    # Where it was taken by a rebuild that was killed, or by another home, the record that it was taken from may take it back.
    if own is not None and mark is not None and mark.previous != own:
        check_mark(mark, own, is_saved=False)
    replace_mark(store, StoreMark(new, None if mark is None else own or mark.id))


def rebuild(txn: Transaction, found: Holdings, store_id: str) -> Rebuilt:
    """Fills an empty record with what a store holds of it: all but pipelines and jobs. `store_id` is the id that both have now.

    Raises:
        StateError: `record-not-empty`.
    """
    check_empty(txn)
    projects, repos = _repos(txn, found)
    rebuilt = Rebuilt(repos, projects, {}, [], {}, list(found.losses))
    _insert(txn, t.project, map(msgspec.structs.asdict, projects.values()))
    _insert(txn, t.repo, map(msgspec.structs.asdict, repos.values()))
    records = _usable(found, repos, rebuilt.losses)
    _insert_commits(txn, records, found.removed, rebuilt)
    _insert_branches(txn, found.structure, _Line(records, rebuilt, found.built_upon), rebuilt)
    if found.structure is not None:
        now = txn.clock.now()
        _insert(txn, t.removed_commit, ({"repo_id": repo, "set_id": id, "removed": now} for repo, id in found.structure.removed))
        _insert(txn, t.cluster_metadata, ({"key": key, "value": value} for key, value in found.structure.cluster_metadata.items()))
    txn.connection.execute(sa.insert(t.record_state).values(id=1, store_id=store_id, changed=found.number, saved=found.number))
    txn.structure_changed = txn.records_due = True
    return rebuilt


def go_on_counting(txn: Transaction, found: Holdings) -> None:
    """Lets new rows have greater ids than the lost record ever gave."""
    for name in NUMBERED:
        last = 0 if found.structure is None else found.structure.last_rows.get(name, 0)
        greatest = txn.connection.execute(sa.select(sa.func.max(t.metadata.tables[name].c.id))).scalar() or 0
        count_on(txn.connection, name, max(last, greatest))


def touch_stale(txn: Transaction) -> None:
    """Has commits made again on the branches whose inputs went on, or are others, since their heads were made: their unfinished commits are lost."""
    txn.touched_branches.update(branch_id for branch_id, _ in find_unread(txn))
    heads = {
        row.id: row
        for row in txn.all(sa.select(t.branch.c.id, t.branch.c.head_id, t.commit.c.started).join(t.commit, t.commit.c.id == t.branch.c.head_id, isouter=True))
    }
    read: dict[int, set[int]] = {}
    for row in txn.all(sa.select(t.commit_provenance.c.commit_id, t.commit_provenance.c.upstream_id)):
        read.setdefault(row.commit_id, set()).add(row.upstream_id)
    for edge in txn.all(sa.select(t.branch_provenance).where(t.branch_provenance.c.never.is_(False))):
        own, above = heads[edge.branch_id], heads[edge.upstream_id]
        if above.head_id is not None and (own.head_id is None or (above.head_id not in read.get(own.head_id, ()) and above.started > own.started)):
            txn.touched_branches.add(edge.branch_id)


def check_empty(txn: Transaction) -> None:
    """Does nothing when the record holds nothing yet.

    Raises:
        StateError: `record-not-empty`.
    """
    if txn.first(sa.select(t.record_state.c.id)) is not None or txn.first(sa.select(t.project.c.id)) is not None:
        raise StateError("record-not-empty", "the record is not empty, so it was not lost; `--force` keeps a copy of it and rebuilds it from the store")


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
    brought = {_named(record) for record in records}
    parents = {_named(record, record.parent) for record in records if record.parent is not None}
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


def _repos(txn: Transaction, found: Holdings) -> tuple[dict[int, StoredProject], dict[int, StoredRepo]]:
    """The projects and repos by row: those of the structure, and those that commits tell of which came after it."""
    structure = found.structure
    projects = {} if structure is None else {project.id: project for project in structure.projects}
    repos = {} if structure is None else {repo.id: repo for repo in structure.repos}
    rows = {project.name: project.id for project in projects.values()}
    taken = {(repo.project_id, repo.name, repo.type) for repo in repos.values()}
    # Of two repos of one name the later one replaced the other.
    for record in sorted(found.records.values(), key=lambda record: (-record.repo_id, record.started)):
        if record.project not in rows:
            rows[record.project] = max(rows.values(), default=0) + 1
            projects[rows[record.project]] = StoredProject(rows[record.project], record.project, record.started, "", {})
        name = (rows[record.project], record.repo, record.repo_type)
        if record.repo_id not in repos and name not in taken:
            taken.add(name)
            repos[record.repo_id] = StoredRepo(record.repo_id, name[0], record.repo, record.repo_type, record.started, "", {})
    return projects, dict(sorted(repos.items()))


def _usable(found: Holdings, repos: Mapping[int, StoredRepo], losses: list[Loss]) -> dict[Key, CommitRecord]:
    usable = {}
    for key, record in found.records.items():
        if key[0] not in repos:
            losses.append(Loss("repo-replaced", f"commit '{_named(record)}' is of a repo that a later one of its name replaced; it is left out"))
        elif record.finished is not None:
            usable[key] = record
    return usable


def _insert_commits(txn: Transaction, records: Mapping[Key, CommitRecord], removed: Mapping[Key, CommitRecord], rebuilt: Rebuilt) -> None:
    names = {(rebuilt.projects[repo.project_id].name, repo.name, repo.type): repo.id for repo in rebuilt.repos.values()}
    parents: dict[Key, Key | None] = {}
    upstream: dict[Key, list[tuple[Key, str]]] = {}
    for key, record in records.items():
        parents[key] = _parent(key, record, records, removed, rebuilt.losses)
        upstream[key] = []
        for source in record.provenance:
            repo_id = names.get((source.project, source.repo, source.type))
            if repo_id is not None and (repo_id, source.id) in records:
                upstream[key].append(((repo_id, source.id), source.branch))
            elif repo_id is not None:
                losses = Loss("provenance-missing", f"commit '{_named(record)}' was made from '{source.repo}@{source.id}', of which the store has no record")
                rebuilt.losses.append(losses)
    rebuilt.order = _ordered(records, parents, upstream)
    rebuilt.commits = {key: row for row, key in enumerate(rebuilt.order, start=1)}

    def row(key: Key) -> dict[str, Any]:
        record, parent = records[key], parents[key]
        recorded = (None if parent is None else parent[1]) == record.parent
        return {"id": rebuilt.commits[key], **commits.row_of(record, parent=None if parent is None else rebuilt.commits[parent], recorded=recorded)}

    _insert(txn, t.commit, map(row, rebuilt.order))
    edges = ((key, source, branch) for key, sources in upstream.items() for source, branch in sources)
    _insert(
        txn,
        t.commit_provenance,
        ({"commit_id": rebuilt.commits[key], "upstream_id": rebuilt.commits[source], "branch_name": branch} for key, source, branch in edges),
    )


def _parent(key: Key, record: CommitRecord, records: Mapping[Key, CommitRecord], removed: Mapping[Key, CommitRecord], losses: list[Loss]) -> Key | None:
    """The parent; past what was squashed after the child was last recorded."""
    above = record.parent
    while above is not None and (key[0], above) not in records:
        if (key[0], above) not in removed:
            losses.append(
                Loss("parent-missing", f"commit '{_named(record)}' continues '{record.repo}@{above}', of which the store has no record; it has no parent now")
            )
            return None
        above = removed[key[0], above].parent
    return None if above is None else (key[0], above)


def _ordered(records: Mapping[Key, CommitRecord], parents: Mapping[Key, Key | None], upstream: Mapping[Key, Sequence[tuple[Key, str]]]) -> list[Key]:
    """The commits in the order in which rows were given: what one was made from before it, otherwise the earlier started first."""
    waits: dict[Key, int] = {}
    below: dict[Key, list[Key]] = {}
    for key in records:
        parent = parents[key]
        above = {source for source, _ in upstream[key]} | ({parent} if parent is not None else set())
        waits[key] = len(above)
        for source in above:
            below.setdefault(source, []).append(key)
    ready = [(records[key].started, key) for key, count in waits.items() if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        _, key = heapq.heappop(ready)
        order.append(key)
        for child in below.get(key, ()):
            waits[child] -= 1
            if not waits[child]:
                heapq.heappush(ready, (records[child].started, child))
    return order


def _insert_branches(txn: Transaction, structure: Structure | None, line: "_Line", rebuilt: Rebuilt) -> None:
    stored = () if structure is None else structure.branches
    rebuilt.branches = {branch.id: branch for branch in stored}
    known = {(branch.repo_id, branch.name) for branch in stored}
    heads = {branch.id: line.tip(branch) for branch in stored}
    last = max([*heads, 0 if structure is None else structure.last_rows.get("branch", 0)])
    for row, place in enumerate(sorted(place for place in line.children if place not in known), start=last + 1):
        tip = line.tip_of_unsaved(place)
        rebuilt.branches[row] = _unsaved_branch(row, place, line.records[tip])
        heads[row] = tip
    _insert(
        txn,
        t.branch,
        (
            {
                "id": branch.id,
                "repo_id": branch.repo_id,
                "name": branch.name,
                "head_id": None if (head := heads[branch.id]) is None else rebuilt.commits[head],
                "created": branch.created,
                "metadata": branch.metadata,
            }
            for branch in rebuilt.branches.values()
        ),
    )
    edges = ((branch.id, upstream, never) for branch in stored for upstream, never in branch.provenance)
    _insert(txn, t.branch_provenance, ({"branch_id": branch, "upstream_id": upstream, "never": never} for branch, upstream, never in edges))
    triggers = ((branch.id, branch.trigger) for branch in stored if branch.trigger is not None)
    _insert(txn, t.branch_trigger, ({"branch_id": branch, **msgspec.structs.asdict(trigger)} for branch, trigger in triggers))
    read = {upstream for branch in stored for upstream, _ in branch.provenance}
    for branch in stored:
        # One that is made from others gets its head by propagation.
        must_have = branch.id in read or (branch.repo_id, branch.name) in line.children
        if heads[branch.id] is None and must_have and not branch.provenance:
            branches.add_empty_root(txn, branch.id)


def _unsaved_branch(row: int, place: tuple[int, str], tip: CommitRecord) -> StoredBranch:
    """A branch of which only its commits tell."""
    return StoredBranch(
        id=row,
        repo_id=place[0],
        name=place[1],
        head=tip.id,
        finished=tip.id,
        passed=(),
        created=tip.started,
        metadata={},
        provenance=(),
        trigger=None,
    )


class _Line:
    """How branches went on.

    A write that was overtaken or killed leaves a record too, of a commit that was never made. Where several continue one commit, that is followed which
    others built upon; where that does not tell, the one that began last. Those that are left out are told as losses.
    """

    def __init__(self, records: Mapping[Key, CommitRecord], rebuilt: Rebuilt, built_upon: Collection[str]) -> None:
        self.records = records
        self.children: dict[tuple[int, str], dict[str | None, list[Key]]] = {}
        self._rebuilt = rebuilt
        self._made: set[Key] = set()
        for key in reversed(rebuilt.order):
            record = records[key]
            if key in self._made or _named(record) in built_upon:
                self._made.add(key)
                if record.parent is not None:
                    self._made.add((key[0], record.parent))
        for key in rebuilt.order:
            label = records[key].branch
            if label is not None:
                self.children.setdefault((key[0], label), {}).setdefault(records[key].parent, []).append(key)

    def tip(self, branch: StoredBranch) -> Key | None:
        """The head of a branch: the one that the structure tells of, and what continued it since. Where it is lost, the newest of the branch's name."""
        place = branch.repo_id, branch.name
        head: Key | None = None
        if branch.head is not None:
            repo = self._rebuilt.repos[branch.repo_id]
            name = f"{RepoName(self._rebuilt.projects[repo.project_id].name, repo.name, RepoType(repo.type))}@{branch.name}"
            known = [id for id in (branch.head, branch.finished) if id is not None and (branch.repo_id, id) in self.records]
            if (branch.repo_id, branch.head) not in self.records:
                self._rebuilt.losses.append(_lost_head(branch, name))
            if not known:
                # The first commit of a branch that began anew, while it was open: what bears the name beside it was left behind.
                return None if branch.finished is None or place not in self.children else self.tip_of_unsaved(place)
            head = branch.repo_id, known[0]
        return self._follow(place, head, branch.passed)

    def tip_of_unsaved(self, place: tuple[int, str]) -> Key:
        """The head of a branch that only its commits tell of."""
        every_one = {key for keys in self.children[place].values() for key in keys}
        roots = [key for parent, keys in self.children[place].items() for key in keys if (place[0], parent) not in every_one]
        root = self._chosen(place, roots)
        return self._follow(place, root, ()) or root

    def _follow(self, place: tuple[int, str], head: Key | None, passed: Collection[str]) -> Key | None:
        children = self.children.get(place, {})
        while after := [key for key in children.get(None if head is None else head[1], ()) if key[1] not in passed]:
            head = self._chosen(place, after)
        return head

    def _chosen(self, place: tuple[int, str], rivals: Sequence[Key]) -> Key:
        best = max(rivals, key=lambda key: (key in self._made, self._rebuilt.commits[key]))
        self._rebuilt.losses += (_rival(self.records[key], self.records[best], place[1]) for key in rivals if key != best)
        return best


def _rival(left_out: CommitRecord, followed: CommitRecord, branch: str) -> Loss:
    name = _named(left_out)
    return Loss(
        "rival-commit",
        f"commits '{name}' and '{followed.id}' both continue the same one on branch '{branch}', which goes on with the latter; the former is most likely of a "
        f"write that failed, otherwise read it and put what it holds again: `pachctl list file {name}:/`",
    )


def _lost_head(branch: StoredBranch, name: str) -> Loss:
    told = f"commit '{branch.head}', the head of branch '{name}',"
    if branch.head == branch.finished:
        return Loss("head-missing", f"{told} has no record in the store")
    lost = "it is made anew" if branch.provenance else "what was put into it is lost"
    return Loss("unfinished-commit", f"{told} was not finished: {lost}")


def _named(record: CommitRecord, id: str | None = None) -> str:
    """A commit's name, or that of another of its repo."""
    return f"{RepoName(record.project, record.repo, RepoType(record.repo_type))}@{id or record.id}"


def _insert(txn: Transaction, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
    many = list(rows)
    if many:
        txn.connection.execute(sa.insert(table), many)
