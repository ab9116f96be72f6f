"""The work area of a job: how its driver and workers in pods talk, by objects below `work/JOB/` in the store of the home (docs/design/0024).

| object | written by | holds |
| --- | --- | --- |
| `setup` | driver | an `AreaSetup`: a `WorkerSetup`, and the version of this layout |
| `sets/N` | driver | the tasks of a datum set |
| `sets-written` | driver, last | how many sets there are |
| `takers/HOLDER/N` | worker | nothing: that the worker of a completion index, or of a pod that stays, is about to claim the set |
| `claims/N` | worker | a `Claim`: who has the set |
| `results/N/K` | worker | results of the set; `K-last` when the set has no other |
| `deaths/POD` | worker | a `Death`: the datum that ran when the container of user code ended under it |
| `told/POD` | worker | a `Death`: the datum that ran when the pod was told to end, for the driver, which may know why |
| `refusals/POD` | worker | a `WorkerRefused`: why it cannot go on |
| `ends/POD/N` | worker | a `WorkerRefused`: why code that stays (docs/design/0033) ended, the last N; those before it go |
| `removing` | driver | nothing: that the area is being removed |

Nothing is overwritten, so everybody may be killed anywhere and begin again. Whoever is told that an object exists may have written it itself, in a request
whose answer was lost: it looks whether the object is its own.
"""

import datetime as dt
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from pachyderm_dagster.errors import ConflictError, ExecutionError, NotFoundError
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, WorkerRefused, WorkerSetup

WORK = "work"
LAYOUT = 1
NO_INDEX = -1
"""In the place of a completion index, of a pod that has none."""
SENT_SIGTERM = "SIGTERM was sent to process 1 of the container, while nobody ended the pod: by user code, or by the kubelet for a livenessProbe that failed"
"""How a container ended."""
_SPREAD = 0.6180339887498949
_SETUP, _SETS, _SETS_WRITTEN, _REMOVING = "setup", "sets", "sets-written", "removing"
_TAKERS, _CLAIMS, _RESULTS, _DEATHS, _TOLD, _REFUSALS, _ENDS = "takers", "claims", "results", "deaths", "told", "refusals", "ends"
_RESTARTS = "restarts"
_LAST = "-last"
_JOB = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_Message = TypeVar("_Message")


class AreaSetup(msgspec.Struct, frozen=True):
    """What all workers of the job must know.

    Args:
        setup: without what is a secret, which Kubernetes gives to pods.
        coordination: URL of the etcd in which workers claim sets; empty when they do so here.
        layout: the version of the area's layout.
    """

    setup: WorkerSetup
    layout: int = LAYOUT
    coordination: str = ""


class Claim(msgspec.Struct, frozen=True):
    """Who has a set: the worker of a completion index. `pod` is the uid of the pod that claimed it; a later pod of the index goes on with it.

    Pods that stay (docs/design/0026) have no completion index, which is NO_INDEX then: each holds what it claims by itself.
    """

    index: int
    pod: str

    @property
    def holder(self) -> str:
        """Whose the set is, also after the worker was started again."""
        return self.pod if self.index == NO_INDEX else str(self.index)

    @property
    def place(self) -> float:
        """Where among the sets the worker begins to look, from 0 to 1: places that are spread evenly however many workers there are."""
        if self.index == NO_INDEX:
            return zlib.crc32(self.pod.encode()) / (1 << 32)
        # Multiples of the golden ratio.
        return self.index * _SPREAD % 1


class Death(msgspec.Struct, frozen=True):
    """A datum that ran when the container of user code, or the worker, ended.

    Args:
        index: of the worker, its completion index.
        pod: its uid.
        datum: index of the datum in its job.
        id: of the datum.
        how: what ended, in words.
    """

    index: int
    pod: str
    datum: int
    id: str
    how: str


@dataclass(frozen=True, slots=True)
class Part:
    """Some results of a set, by its number there; `is_last`: when it was written the set needed no other."""

    set_number: int
    number: int
    is_last: bool

    @property
    def name(self) -> str:
        return f"{self.number:06}{_LAST if self.is_last else ''}"


@dataclass(frozen=True, slots=True)
class WorkArea:
    """The area of one job.

    Args:
        store: of the home.
        job: the name of the job on Kubernetes: lower-case letters, digits, `-` and `.`. Where pods stay, with the id of an area behind a `.`.
    """

    store: ObjectStore
    job: str

    def __post_init__(self) -> None:
        if not is_area_name(self.job):
            raise ValueError(f"{self.job!r} is no name of a job on Kubernetes")

    # The driver's side.

    def begin(self, setup: WorkerSetup, coordination: str = "") -> bool:
        """Writes the setup, without secret files; one that an earlier driver of the job wrote stays. A removal that was cut off is ended first.

        Returns whether this driver can go on with it: an earlier one's setup may have another place where workers claim sets, or be of another layout.
        """
        if self._find(_REMOVING) is not None:
            self.remove()
        plain = msgspec.structs.replace(setup, secret_files={})
        if self.store.put_new(self._key(_SETUP), msgspec.msgpack.encode(AreaSetup(plain, coordination=coordination))):
            return True
        return self._is_setup_for(coordination)

    def stands(self, coordination: str) -> bool:
        """Whether a driver can go on with it that has workers claim sets there: it was begun, in the layout of this program, and its removal was not."""
        return self._find(_REMOVING) is None and self._is_setup_for(coordination)

    def layout(self) -> int | None:
        """In which layout it is; None when not all is there that its driver writes before there are results, or it is being removed."""
        if self._find(_REMOVING) is not None or self._find(_SETS_WRITTEN) is None:
            return None
        data = self._find(_SETUP)
        return None if data is None else msgspec.msgpack.decode(data, type=_Layout).layout

    def modified(self) -> dt.datetime | None:
        """When something was last written into it; None when there is nothing."""
        return max((found.modified for found in self.store.list(f"{WORK}/{self.job}")), default=None)

    def write_sets(self, sets: Iterable[Sequence[DatumTask]], offer: Callable[[Iterable[int]], object] = lambda _: None) -> int:
        """Writes datum sets, one in memory at a time, and then that these are all; returns how many there are.

        When an earlier driver of the job was at it, its sets stay, and only the tasks that are in none of them are written: in sets of another size when that
        was chosen anew. Then nothing is read of `sets` if it had ended.

        `offer` is called with the numbers of sets that are there, before it is said that these are all.

        Raises:
            ConflictError: `job-driven-twice`, when another driver writes at the same time.
        """
        written = self.sets_written()
        if written is not None:
            offer(range(written))
            return written
        there = self.list_sets()
        offer(sorted(there))
        covered = {task.index for number in there for task in self.read_set(number)}
        number = max(there, default=-1) + 1
        for tasks in sets:
            left = [task for task in tasks if task.index not in covered] if covered else list(tasks)
            if left:
                self._put_own(f"{_SETS}/{number:08}", msgspec.msgpack.encode(left))
                offer([number])
                number += 1
        self._put_own(_SETS_WRITTEN, msgspec.msgpack.encode(number))
        return number

    def deaths(self) -> Iterator[Death]:
        """The deaths so far, also those of one pod's worker that was started again."""
        return map(self.read_death, self.death_names())

    def death_names(self) -> Iterator[str]:
        """The names of the deaths so far."""
        return self._names(_DEATHS)

    def read_death(self, name: str) -> Death:
        """One death; it stays as it is."""
        return self._decode(f"{_DEATHS}/{name}", Death)

    def find_told(self, pod: str) -> Death | None:
        """The datum that a pod ran when it was told to end; None when it ran none, or nobody told it."""
        data = self._find(f"{_TOLD}/{pod}")
        return None if data is None else _decode(data, Death)

    def refusals(self) -> Iterator[tuple[str, WorkerRefused]]:
        """The uids of the pods whose worker could not go on, and why."""
        for name in self._names(_REFUSALS):
            yield name, self._decode(f"{_REFUSALS}/{name}", WorkerRefused)

    def has_refused(self, pod: str) -> bool:
        """Whether the worker of a pod could not go on."""
        return self._find(f"{_REFUSALS}/{pod}") is not None

    def find_last(self, pod: str) -> WorkerRefused | None:
        """Why code that stays ended last in a pod, or its worker could not begin; None when it has not."""
        last = max(self._names(f"{_ENDS}/{pod}"), default=None)
        data = None if last is None else self._find(f"{_ENDS}/{pod}/{last}")
        return None if data is None else _decode(data, WorkerRefused)

    def holders(self) -> set[str]:
        """Those who took sets and were not forgotten."""
        return {found.key.split("/")[-2] for found in self.store.list(self._key(_TAKERS))}

    def free(self, holder: str) -> list[int]:
        """Has others do what a holder, which is gone, left: tasks without a result become new sets, behind those of `write_sets`. Their numbers in the job.

        Killed anywhere it may be called again; some tasks are then in two sets, and the first result counts.
        """
        freed: list[int] = []
        for number in self.claims_of(holder):
            done, _ = self.results_of(number)
            left = [task for task in self.read_set(number) if task.index not in done]
            if left:
                self._add_set(left)
            freed += [task.index for task in left]
        self.store.delete(*[found.key for found in self.store.list(self._key(f"{_TAKERS}/{holder}"))])
        return freed

    def _add_set(self, tasks: Sequence[DatumTask]) -> None:
        number = max(self.list_sets(), default=-1) + 1
        while not self.store.put_new(self._key(f"{_SETS}/{number:08}"), msgspec.msgpack.encode(tasks)):
            number += 1

    def claimed(self) -> set[int]:
        """The sets that a worker has, or had."""
        return set(map(int, self._names(_CLAIMS)))

    def parts(self, first: int) -> Iterator[Part]:
        """The parts of results from a set on, in the order of sets and parts, listed as they are asked for."""
        for found in self.store.list(self._key(_RESULTS), after=self._key(f"{_RESULTS}/{first:08}")):
            _, number, name = found.key.rsplit("/", 2)
            yield Part(int(number), int(name.removesuffix(_LAST)), name.endswith(_LAST))

    def read_part(self, part: Part) -> list[DatumResult]:
        """The results of a part."""
        return self._decode(f"{_RESULTS}/{part.set_number:08}/{part.name}", list[DatumResult])

    def begun(self) -> Iterator[str]:
        """The ids of the datums of sets that a worker has, without those that have a result: what runs is among them."""
        ended = {part.set_number for part in self.parts(0) if part.is_last}
        for number in sorted(self.claimed() - ended):
            done, _ = self.results_of(number)
            yield from (task.id for task in self.read_set(number) if task.index not in done)

    def ask_restart(self, datum: str) -> None:
        """Asks whoever runs a datum to run it again."""
        self.store.put_new(self._key(f"{_RESTARTS}/{datum}"), b"")

    def is_restart_asked(self, datum: str) -> bool:
        """Whether somebody asked for that, and no worker has taken it up."""
        return self._find(f"{_RESTARTS}/{datum}") is not None

    def remove(self) -> None:
        """Removes the area. One that is killed meanwhile is ended by the next call, or by `begin`.

        Pods of a Job must be gone. Those that stay may write a little into it behind its end, so no other area gets this name, and the janitor removes that.
        """
        self.store.put_new(self._key(_REMOVING), b"")
        # Sets before their claims: whoever still looks for one would take those that were done.
        self.store.delete(*[found.key for found in self.store.list(self._key(_SETS))])
        self.store.delete(*[found.key for found in self.store.list(f"{WORK}/{self.job}") if found.key != self._key(_REMOVING)])
        self.store.delete(self._key(_REMOVING))

    # Both sides.

    def take_restart(self, datum: str) -> bool:
        """Whether it was asked that a datum be run again; it is not any more. Who asked takes it back by this."""
        if not self.is_restart_asked(datum):
            return False
        self.store.delete(self._key(f"{_RESTARTS}/{datum}"))
        return True

    def sets_written(self) -> int | None:
        """How many sets there are; None as long as there may be more."""
        data = self._find(_SETS_WRITTEN)
        return None if data is None else msgspec.msgpack.decode(data, type=int)

    def list_sets(self) -> set[int]:
        """The sets that are there."""
        return set(map(int, self._names(_SETS)))

    def free_sets(self, first: int) -> Iterator[int]:
        """The sets from a number on that no worker claimed, in order. Listed as they are asked for, so some may be claimed meanwhile."""
        claims = self._numbers(_CLAIMS, first)
        claimed = next(claims, None)
        for number in self._numbers(_SETS, first):
            while claimed is not None and claimed < number:
                claimed = next(claims, None)
            if number != claimed:
                yield number

    def read_set(self, number: int) -> list[DatumTask]:
        """The tasks of a set."""
        return self._decode(f"{_SETS}/{number:08}", list[DatumTask])

    # The worker's side.

    def find_setup(self) -> AreaSetup | None:
        """The setup; None as long as it is not there.

        Raises:
            ExecutionError: `area-too-new`, when a driver of another version wrote it in another layout.
        """
        data = self._find(_SETUP)
        if data is None:
            return None
        found = msgspec.msgpack.decode(data, type=_Layout).layout
        if found != LAYOUT:
            problem = f"the work area of {self.job} has layout {found}, and this worker knows {LAYOUT}"
            raise ExecutionError("area-too-new", f"{problem}; let the worker's image be of the version of the program that runs the job")
        return msgspec.msgpack.decode(data, type=AreaSetup)

    def claim(self, number: int, claim: Claim) -> bool:
        """Takes a set that nobody has; false when another worker was faster. A set of this completion index's own is taken again."""
        # Before the claim: what was claimed is found again by it.
        self.store.put_new(self._key(f"{_TAKERS}/{claim.holder}/{number:08}"), b"")
        key = f"{_CLAIMS}/{number:08}"
        return self.store.put_new(self._key(key), msgspec.msgpack.encode(claim)) or self._decode(key, Claim).holder == claim.holder

    def withdraw(self, number: int, claim: Claim) -> None:
        """Takes back a claim of this worker's own, which has not begun with the set."""
        self.store.delete(self._key(f"{_CLAIMS}/{number:08}"))
        self.store.delete(self._key(f"{_TAKERS}/{claim.holder}/{number:08}"))

    def claims_of(self, holder: str) -> list[int]:
        """The sets that a holder of claims has and that it has not finished, by number."""
        begun = set(map(int, self._names(f"{_TAKERS}/{holder}")))
        own = [number for number in sorted(begun) if (data := self._find(f"{_CLAIMS}/{number:08}")) and _decode(data, Claim).holder == holder]
        return [number for number in own if not any(name.endswith(_LAST) for name in self._names(f"{_RESULTS}/{number:08}"))]

    def append_results(self, number: int, part: int, results: Sequence[DatumResult], *, last: bool) -> int:
        """Adds a part to the results of a set; `part` counts them. Returns the number of the next one, which is another when a part of that number existed."""
        data = msgspec.msgpack.encode(results)
        while not self.store.put_new(self._key(f"{_RESULTS}/{number:08}/{Part(number, part, last).name}"), data):
            part += 1
        return part + 1

    def results_of(self, number: int) -> tuple[set[int], int]:
        """Which datums of a set have a result, by their index in the job, and the number of the next part."""
        names = list(self._names(f"{_RESULTS}/{number:08}"))
        done = {result.index for name in names for result in self._decode(f"{_RESULTS}/{number:08}/{name}", list[_Index])}
        return done, max((int(name.removesuffix(_LAST)) for name in names), default=-1) + 1

    def note_death(self, death: Death, restart: int = 0) -> None:
        """Says that a datum was the last thing that a pod ran; `restart` counts how often its worker had been started again."""
        self.store.put_new(self._key(f"{_DEATHS}/{death.pod}" + (f".{restart}" if restart else "")), msgspec.msgpack.encode(death))

    def note_told(self, death: Death) -> None:
        """Says that a datum ran when its pod was told to end, which by itself says nothing about the datum."""
        self.store.put_new(self._key(f"{_TOLD}/{death.pod}"), msgspec.msgpack.encode(death))

    def note_refusal(self, pod: str, refused: WorkerRefused) -> None:
        """Says why the worker of a pod cannot go on."""
        self.store.put_new(self._key(f"{_REFUSALS}/{pod}"), msgspec.msgpack.encode(refused))

    def note_last(self, pod: str, refused: WorkerRefused) -> None:
        """Says why code that stays ended in a pod, or could not begin; then what was said before goes, so there is always something to read."""
        before = sorted(self._names(f"{_ENDS}/{pod}"))
        number = int(before[-1]) + 1 if before else 0
        self.store.put_new(self._key(f"{_ENDS}/{pod}/{number:08}"), msgspec.msgpack.encode(refused))
        self.store.delete(*[self._key(f"{_ENDS}/{pod}/{name}") for name in before])

    def _is_setup_for(self, coordination: str) -> bool:
        data = self._find(_SETUP)
        return data is not None and _decode(data, _Layout).layout == LAYOUT and _decode(data, AreaSetup).coordination == coordination

    def _key(self, name: str) -> str:
        return f"{WORK}/{self.job}/{name}"

    def _names(self, folder: str, *, after: str = "") -> Iterator[str]:
        """The names of what lies in a folder of the area, in their order, behind one of them."""
        for found in self.store.list(self._key(folder), after=self._key(f"{folder}/{after}") if after else ""):
            yield found.key.rpartition("/")[2]

    def _numbers(self, folder: str, first: int) -> Iterator[int]:
        return map(int, self._names(folder, after=f"{first - 1:08}" if first else ""))

    def _find(self, name: str) -> bytes | None:
        try:
            return self.store.get(self._key(name))
        except NotFoundError as error:
            if error.code != "object-not-found":
                raise
            return None

    def _decode(self, name: str, kind: type[_Message]) -> _Message:
        return _decode(self.store.get(self._key(name)), kind)

    def _put_own(self, name: str, data: bytes) -> None:
        if not self.store.put_new(self._key(name), data) and self.store.get(self._key(name)) != data:
            raise ConflictError("job-driven-twice", f"another process writes the datum sets of {self.job} at the same time; the job is run by that one")


def is_area_name(name: str) -> bool:
    """Whether an area may be called so."""
    return _JOB.fullmatch(name) is not None


def remove_old_areas(store: ObjectStore, before: dt.datetime, is_gone: Callable[[str], bool]) -> list[str]:
    """Removes the areas of jobs that are gone and in which nothing was written since; the names of their jobs."""
    newest: dict[str, dt.datetime] = {}
    for found in store.list(WORK):
        job = found.key.split("/")[1]
        newest[job] = max(found.modified, newest.get(job, found.modified))
    old = sorted(job for job, modified in newest.items() if modified < before and is_area_name(job) and is_gone(job))
    for job in old:
        WorkArea(store, job).remove()
    return old


class _Layout(msgspec.Struct, frozen=True):
    layout: int


class _Index(msgspec.Struct, frozen=True, tag="result", tag_field="type"):
    """Of a result, which datum's it is."""

    index: int


def _decode(data: bytes, kind: type[_Message]) -> _Message:
    return msgspec.msgpack.decode(data, type=kind)
