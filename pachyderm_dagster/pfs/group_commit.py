"""One-off writes: those that wait for the same branch at the same time share a pack and a transaction of the database, each still its own commit.

Whoever comes first writes for all that wait by then; the others find their commit made, or lead the next group.
"""

import copy
import datetime as dt
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from pachyderm_dagster.errors import ConflictError, InvalidError, PachydermError, StateError
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.attempts import attempts
from pachyderm_dagster.pfs.commit_records import CommitRecord, add_record
from pachyderm_dagster.pfs.filesets import Layer
from pachyderm_dagster.pfs.horizon import check_not_collected
from pachyderm_dagster.pfs.merging import merge
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.pfs.references import Reference
from pachyderm_dagster.pfs.staging import add_layer, relocate
from pachyderm_dagster.pfs.targets import Made, Overtaken, Target, commit_at_once, commit_behind, find_target, open_head, record_at_once, stage
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.trees import Trees

_SHARED_BYTES = 1024 * 1024  # who brings more stores it alone


@dataclass(slots=True, eq=False)
class Write:
    """A stream of changes on its way.

    Attributes:
        writer: holds its small contents, which need not be stored yet.
        since: when the stream began.
        joins_open: whether it may go into a commit that is open.
        id: of the commit that it makes, whatever the number of attempts: of the records that these leave in the store the newest is true.
        recorded: when the last of them was made.
    """

    layers: Sequence[Layer]
    writer: ContentWriter
    description: str
    since: dt.datetime
    joins_open: bool = True
    stored_bytes: int = 0
    id: str | None = None
    recorded: dt.datetime | None = None
    commit: Commit | None = None
    error: PachydermError | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has been decided how it ended."""
        return self.commit is not None or self.error is not None


@dataclass(slots=True)
class _Queue:
    """The writes that wait for one branch, and the lock that their leader holds."""

    leading: threading.Lock = field(default_factory=threading.Lock)
    waiting: list[Write] = field(default_factory=list)


class GroupCommit:
    """Applies one-off writes. For several threads."""

    def __init__(self, database: Database, trees: Trees, reader: ContentReader) -> None:
        self.database = database
        self._trees = trees
        self._reader = reader
        self._lock = threading.Lock()
        self._queues: defaultdict[Reference, _Queue] = defaultdict(_Queue)

    def is_busy(self, target: Reference) -> bool:
        """Whether others are just writing to a target, so that whether it can be written to is known in a moment."""
        with self._lock:
            return target in self._queues

    def write(self, target: Reference, write: Write) -> Commit:
        """Applies a write to a branch or an open commit; returns the commit that it went into.

        Raises:
            PachydermError: as `Pfs.modify_file`.
        """
        if write.writer.packs.pending_bytes > _SHARED_BYTES:
            write.writer.flush()
        else:
            write.writer.flush_chunks()
        with self._lock:
            queue = self._queues[target]
        led = False
        try:
            with self._lock:
                queue.waiting.append(write)
            with queue.leading:
                if not write.is_over:
                    led = True
                    with self._lock:
                        group, queue.waiting = queue.waiting, []
                    self._lead(target, write, group)
        except BaseException:
            self._withdraw(queue, write, led=led)
            raise
        finally:
            with self._lock:
                if not queue.waiting and self._queues.get(target) is queue:
                    del self._queues[target]
        if write.error is not None:
            raise write.error
        assert write.commit is not None
        return write.commit

    def _withdraw(self, queue: _Queue, write: Write, *, led: bool) -> None:
        """Lets nothing come of a write behind its caller's back: it leaves the queue, or what others do with it is waited for.

        Args:
            led: its caller was the leader, so that nobody else does anything with it.
        """
        with self._lock:
            if write in queue.waiting:
                queue.waiting.remove(write)
                return
        if not led:
            with queue.leading:
                pass

    def _lead(self, target: Reference, own: Write, group: Sequence[Write]) -> None:
        """Decides every write of a group, whatever happens; `own` is the one whose caller leads."""
        first, *others = group
        try:
            for write in group:
                write.stored_bytes = write.writer.stored_bytes
            for write in others:
                write.layers = relocate(write.layers, first.writer.packs.take_over(write.writer.packs))
            self._apply(target, group, first.writer)
        except BaseException:
            # Not of our making (an interrupt, a bug): it is raised here, and the others must not wait for ever.
            for write in group:
                if write is not own and not write.is_over:
                    write.error = ConflictError("branch-busy", f"the write to '{target}' was to happen together with one that was interrupted; try again")
            raise

    def _apply(self, target: Reference, group: Sequence[Write], writer: ContentWriter) -> None:
        try:
            for _ in attempts(f"branch '{target}'"):
                if self._try(target, [write for write in group if not write.is_over], writer):
                    return
        except PachydermError as error:
            undecided = [write for write in group if not write.is_over]
            for write in undecided:
                if len(undecided) > 1 and _may_be_of_one(error):
                    self._apply(target, [write], writer)
                else:
                    write.error = copy.copy(error)

    def _try(self, target: Reference, group: Sequence[Write], writer: ContentWriter) -> bool:
        """One attempt; false when others moved the branch meanwhile."""
        with self.database.read() as txn:
            found = find_target(txn, target)
        if found.open_commit is not None:
            for write in group:
                if not write.joins_open:
                    write.error = open_head(target)
            return all(self._stage(target, found, write, writer) for write in group if not write.is_over)
        planned = list(self._plan(target, found, group, writer))
        if not planned:
            return True
        writer.flush()
        since = min(write.since for write, _ in planned)
        try:
            made = self.database.write_in_turn([(record.id, partial(_commit, target.branch(), found.head, since, record)) for _, record in planned])
        except Overtaken:
            return False
        with self.database.read() as txn:
            found_commits = {commit.key: commit for commit in commits.list_rows(txn, [one.commit for one in made])}
        for (write, _), one in zip(planned, made, strict=True):
            write.commit = found_commits[one.commit]
        return True

    def _stage(self, target: Reference, found: Target, write: Write, writer: ContentWriter) -> bool:
        """Adds a write to an open commit; false when that was finished meanwhile."""
        before = writer.stored_bytes
        staged = [add_layer(writer.packs, layer) for layer in write.layers]
        writer.flush()
        stored_bytes = write.stored_bytes + writer.stored_bytes - before

        def change(txn: Transaction) -> Commit | None:
            check_not_collected(txn, write.since)
            return stage(txn, target, found, staged, stored_bytes)

        write.commit = self.database.write(change)
        return write.commit is not None

    def _plan(self, target: Reference, found: Target, group: Sequence[Write], writer: ContentWriter) -> Iterator[tuple[Write, CommitRecord]]:
        """What each write makes of what the one before it left; one that cannot be applied fails alone."""
        name, repo = target.branch(), found.repo
        root = self._trees.decode(found.base)
        parent = found.head_set
        for write in group:
            before = writer.stored_bytes
            try:
                root = merge(self._trees, self._reader, writer, root, write.layers)
            except PachydermError as error:
                write.error = error
                continue
            now = self.database.clock.now()
            write.id = write.id or self.database.clock.new_id()
            write.recorded = now if write.recorded is None else max(now, write.recorded + dt.timedelta(microseconds=1))
            record = record_at_once(
                name,
                repo,
                write.id,
                parent=parent,
                root=root,
                description=write.description,
                stored_bytes=write.stored_bytes + writer.stored_bytes - before,
                now=now,
                written=write.recorded,
            )
            add_record(writer.packs, record)
            parent = record.id
            yield write, record


def _may_be_of_one(error: PachydermError) -> bool:
    """Whether an error of a group may be the fault of one write in it: one that cannot be applied, or that took too long."""
    return isinstance(error, InvalidError | StateError) or error.code == "write-collected"


def _commit(name: BranchName, head: int | None, since: dt.datetime, record: CommitRecord, previous: Made | None, txn: Transaction) -> Made:
    """Makes a commit behind the one before it, the first of a group behind `head`."""
    if previous is not None:
        return commit_behind(txn, previous, record)
    check_not_collected(txn, since)
    return commit_at_once(txn, name, head, record)
