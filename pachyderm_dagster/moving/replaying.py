"""Replays the extract of a Pachyderm 1.x cluster: objects are kept aside, repos, commits and branches made as they were, pipelines read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.moving.arrivals import Arrivals, ArrivingCommit, ArrivingFile
from pachyderm_dagster.moving.arriving_pipelines import ArrivingPipeline, find_arriving
from pachyderm_dagster.moving.old_objects import OldObjects
from pachyderm_dagster.moving.old_pipelines import document_of, time_of
from pachyderm_dagster.moving.old_trees import OldFile, files_of_shard, files_of_tree
from pachyderm_dagster.moving.wire import Fields, bytes_of, fields_of, message_of, messages_of, number_of, read_framed, text_of, unsnapped
from pachyderm_dagster.pfs.streams import Pieces
from pachyderm_dagster.storage.chunks import Readable

# Field numbers of admin.proto: the versions of operations, and the operations, which have the same numbers in all of them.
_VERSIONS = {1: "1.7", 2: "1.8", 3: "1.9", 4: "1.10", 5: "1.11", 6: "1.12", 7: "1.13"}
_SPEC_REPO = "__spec__"
_AUTO = 1


@dataclass(slots=True)
class Replayed:
    """What an extract held.

    Attributes:
        version: of Pachyderm that wrote it.
        pipelines: in the order of what they read.
        skipped: what did not come along, and why.
        left: operations that have no counterpart, by kind.
    """

    version: str = ""
    repos: int = 0
    commits: int = 0
    branches: int = 0
    pipelines: list[ArrivingPipeline] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)


def replay(source: Readable, arrivals: Arrivals, progress: Callable[[int], None]) -> Replayed:
    """Makes what an extract holds. Run again, it goes on: repos that came from Pachyderm and commits that are there already stay as they are.

    Args:
        source: what `pachctl extract` of 1.7 to 1.13 wrote, with snappy around it or without.
        progress: told how many bytes were read.

    Raises:
        InvalidError: `import-invalid`.
        ExistsError: `repo-exists`, when a repo of that name is there that did not come from Pachyderm.
        StorageError, UnreachableError: when the store refuses or does not answer.
    """
    with OldObjects() as objects:
        replaying = _Replaying(objects, arrivals)
        for frame in read_framed(Pieces(unsnapped(source))):
            replaying.take(fields_of(frame))
            progress(len(frame))
        return replaying.found


class _Replaying:
    def __init__(self, objects: OldObjects, arrivals: Arrivals) -> None:
        self.found = Replayed()
        self._objects, self._arrivals = objects, arrivals

    def take(self, operation: Fields) -> None:
        version = next((number for number in _VERSIONS if number in operation), None)
        if version is None:
            raise InvalidError("import-invalid", f"the extract holds an operation of an unknown version ({sorted(operation)}); this reads those of 1.7 to 1.13")
        if self.found.version not in ("", _VERSIONS[version]):
            raise InvalidError("import-invalid", f"the extract holds operations of {self.found.version} and of {_VERSIONS[version]}; extract again")
        self.found.version = _VERSIONS[version]
        for number, values in fields_of(bytes_of(operation, version)).items():
            for value in values:
                if isinstance(value, bytes):
                    self._do(number, fields_of(value))

    def _do(self, number: int, request: Fields) -> None:
        match number:
            case 2:
                self._objects.add_object_piece(bytes_of(request, 1))
            case 3:
                return  # another name for an object, which commits do not use
            case 4:
                self._make_repo(text_of(message_of(request, 1) or {}, 1), text_of(request, 3))
            case 5:
                self._make_commit(request)
            case 6:
                self._make_branch(request)
            case 7:
                self._read_pipeline(request)
            case 8:
                self._leave("jobs")
            case 9:
                self._add_object(request)
            case 10:
                self._objects.add_block_piece(text_of(message_of(request, 1) or {}, 1), bytes_of(request, 2))
            case _:
                self._leave("settings of accounts and licences")

    def _add_object(self, request: Fields) -> None:
        place = message_of(request, 2) or {}
        within = message_of(place, 2) or {}
        name, block = (text_of(message_of(each, 1) or {}, 1) for each in (request, place))
        self._objects.add_object(name, block, number_of(within, 1), number_of(within, 2))

    def _leave(self, kind: str) -> None:
        self.found.left[kind] = self.found.left.get(kind, 0) + 1

    def _make_repo(self, name: str, description: str) -> None:
        if name == _SPEC_REPO:
            return
        self._arrivals.make_repo(name, description)
        self.found.repos += 1

    def _make_commit(self, request: Fields) -> None:
        parent = message_of(request, 1) or {}
        repo = text_of(message_of(parent, 1) or {}, 1)
        if repo == _SPEC_REPO:
            return
        commit = self._commit_of(request, repo, text_of(parent, 2) or None)
        files = self._files(message_of(request, 3), messages_of(request, 7))
        self.found.commits += self._arrivals.make_commit(commit, self._readable(commit, files))

    def _commit_of(self, request: Fields, repo: str, parent: str | None) -> ArrivingCommit:
        is_auto = number_of(message_of(request, 12) or {}, 1) == _AUTO
        started, finished = message_of(request, 10), message_of(request, 11)
        read = [(text_of(message_of(commit, 1) or {}, 1), text_of(commit, 2), branch) for commit, branch in _provenance(request)]
        ended = time_of(finished) if finished is not None else self._arrivals.now()
        has_failed = is_auto and bool(read) and not {3, 7} & request.keys()
        return ArrivingCommit(
            repo=repo,
            id=text_of(request, 5),
            parent=parent,
            started=time_of(started) if started is not None else ended,
            finished=ended,
            error="its job had failed in Pachyderm" if has_failed else None,
            is_auto=is_auto,
            read=tuple(each for each in read if each[0] != _SPEC_REPO),
        )

    def _files(self, tree: Fields | None, shards: list[dict[int, Any]]) -> Iterator[OldFile]:
        if tree is not None:
            yield from files_of_tree(self._objects.get_object(text_of(tree, 1)))
        for shard in shards:
            yield from files_of_shard(self._objects.get_object(text_of(shard, 1)))

    def _readable(self, commit: ArrivingCommit, files: Iterable[OldFile]) -> Iterator[ArrivingFile]:
        for file in files:
            ranges = [self._objects.object_range(each) for each in file.objects]
            ranges += [self._objects.block_range(each.block, each.lower, each.upper) for each in file.blocks]
            if file.headed:
                self.found.skipped.append(f"the header of the directory of {commit.repo}@{commit.id}:{file.path}, which was part of the file")
            yield ArrivingFile(file.path, "|".join(map(str, ranges)), partial(self._objects.stream, ranges))

    def _make_branch(self, request: Fields) -> None:
        head = message_of(request, 1) or {}
        branch = message_of(request, 3) or {}
        repo = text_of(message_of(branch, 1) or message_of(head, 1) or {}, 1)
        if repo == _SPEC_REPO:
            return
        trigger = message_of(request, 5)
        self._arrivals.make_branch(repo, text_of(branch, 2) or text_of(request, 2), text_of(head, 2) or None)
        if trigger is not None:
            name = f"{repo}@{text_of(branch, 2)}"
            self.found.skipped.append(f"the trigger of branch {name}; `pachctl create branch {name} --trigger BRANCH` gives it one")
        self.found.branches += 1

    def _read_pipeline(self, request: Fields) -> None:
        name = text_of(message_of(request, 1) or {}, 1)
        found = find_arriving(name, partial(document_of, request), self.found.skipped)
        self.found.pipelines += [] if found is None else [found]


def _provenance(request: Fields) -> Iterator[tuple[Fields, str]]:
    for each in messages_of(request, 6):
        yield message_of(each, 1) or {}, text_of(message_of(each, 2) or {}, 2)
