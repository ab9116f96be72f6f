"""Versions of several repos whose branches are made from each other, as dictionaries: Pachyderm's rules, written down once more and slowly.

Operations take the id of the commit set that they are, and raise `Refused` before they change anything that counts: the caller works on a copy.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

Files = dict[str, bytes]
Branch = tuple[str, str]
"""A repo and the name of a branch."""
Id = tuple[str, str]
"""A repo and the id of a commit set: a commit."""


class Refused(Exception):
    """What must not be done; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Version:
    """A commit: its whole content, finished or not, and what it was made from, by the branch through which that was read."""

    parent: Id | None
    files: Files
    label: str | None
    reads: dict[Branch, Id] = field(default_factory=dict)
    by_user: bool = False
    is_open: bool = False
    failed: bool = False
    forgotten: bool = False


@dataclass(slots=True)
class Graph:
    """All repos."""

    versions: dict[Id, Version] = field(default_factory=dict)
    heads: dict[Branch, Id | None] = field(default_factory=dict)
    sources: dict[Branch, dict[Branch, bool]] = field(default_factory=dict)
    """What a branch is made from, and whether commits there make none here."""

    # What commits hold

    def history(self, id: Id | None) -> list[Id]:
        found = []
        while id is not None:
            found.append(id)
            id = self.versions[id].parent
        return found

    def base(self, id: Id | None) -> Files:
        """What a commit behind this one begins with."""
        for found in self.history(id):
            version = self.versions[found]
            if not version.is_open and not version.failed:
                if version.forgotten:
                    raise Refused("commit-forgotten")
                return dict(version.files)
        return {}

    # What branches are made from

    def above(self, branch: Branch, *, passing: bool = False) -> set[Branch]:
        """All that a branch is made from, however far; with `passing` as far as commits make others."""
        found: set[Branch] = set()
        frontier = {branch}
        while frontier:
            frontier = {source for at in frontier for source, never in self.sources.get(at, {}).items() if not (passing and never)} - found
            found |= frontier
        return found

    def check_shape(self) -> None:
        """Refuses what is made from itself, from its own repo, and two branches of one repo that one change would reach."""
        for branch in self.sources:
            if any(source[0] == branch[0] for source in self.above(branch)):
                raise Refused("provenance-cycle")
        for changed in self.heads:
            reached = [branch for branch in self.heads if branch == changed or changed in self.above(branch, passing=True)]
            if len({repo for repo, _ in reached}) < len(reached):
                raise Refused("set-conflict")

    # What an operation starts

    def propagate(self, set_id: str, *, touched: Collection[Branch] = (), moved: Collection[Branch] = ()) -> None:
        """Opens a commit on all that is made from what changed, and on what was touched and is made from something."""
        changed = {*touched, *moved}
        due = [branch for branch in self.sources if self.sources[branch] and (branch in touched or changed & self.above(branch, passing=True))]
        for branch in sorted(due, key=lambda branch: len(self.above(branch))):
            head = self.heads[branch]
            if head is not None and head[1] == set_id:
                continue
            files = {} if head is None else self._begun(head)
            self.add(set_id, branch, Version(head, files, branch[1], self.read_now(branch), is_open=True))
        for branch in self.heads:
            if branch in changed and self.is_unread(branch):
                raise Refused("head-provenance")

    def _begun(self, head: Id) -> Files:
        try:
            return self.base(head)
        except Refused:
            return {}

    def read_now(self, branch: Branch) -> dict[Branch, Id]:
        return {source: head for source in self.sources.get(branch, {}) if (head := self.heads[source]) is not None}

    def is_unread(self, branch: Branch) -> bool:
        """Whether a branch is made from one of which its head was not."""
        head = self.heads[branch]
        return head is not None and bool(self.read_now(branch).keys() - self.versions[head].reads.keys())

    def add(self, set_id: str, branch: Branch, version: Version) -> None:
        id = branch[0], set_id
        if id in self.versions:
            raise Refused("set-conflict")
        self.versions[id] = version
        self.heads[branch] = id

    def add_root(self, set_id: str, branch: Branch) -> None:
        """An empty head; several branches of a repo share it."""
        root = self.versions.setdefault((branch[0], set_id), Version(None, {}, branch[1]))
        root.reads |= self.read_now(branch)
        self.heads[branch] = branch[0], set_id

    # Operations

    def write(self, set_id: str, branch: Branch, files: Mapping[str, bytes]) -> None:
        """Into the open head, or as a commit."""
        head = self.heads.get(branch)
        if head is not None and self.versions[head].is_open:
            self.versions[head].files |= files
            return
        if self.sources.get(branch):
            raise Refused("output-branch")
        self.add(set_id, branch, Version(head, {**self.base(head), **files}, branch[1], by_user=True))
        self.propagate(set_id, touched=[branch])

    def start(self, set_id: str, branches: Iterable[Branch]) -> None:
        """Opens commits, all at once."""
        started = list(branches)
        for branch in started:
            head = self.heads.get(branch)
            if self.sources.get(branch):
                raise Refused("output-branch")
            if head is not None and self.versions[head].is_open:
                raise Refused("commit-open")
            self.add(set_id, branch, Version(head, self.base(head), branch[1], by_user=True, is_open=True))
        self.propagate(set_id, touched=started)

    def clear(self, id: Id) -> None:
        if not self.versions[id].is_open:
            raise Refused("commit-finished")
        self.versions[id].files = self.base(self.versions[id].parent)

    def finish(self, id: Id, *, failed: bool) -> None:
        if not self.versions[id].is_open:
            raise Refused("commit-finished")
        self.versions[id].is_open = False
        self.versions[id].failed = failed

    def create_branch(self, set_id: str, branch: Branch, sources: Mapping[Branch, bool], head: Id | None) -> None:
        old = self.heads.setdefault(branch, None)
        if any(source[0] == branch[0] for source in sources):
            raise Refused("provenance-cycle")
        for source in sources:
            if self.heads.setdefault(source, None) is None and not self.sources.get(source):
                self.add_root(set_id, source)
        changed = set(sources) != set(self.sources.get(branch, {}))
        self.sources[branch] = dict(sources)
        if sources:
            self.check_shape()
        if head is not None:
            if self.versions[head].forgotten:
                raise Refused("commit-forgotten")
            self.heads[branch] = head
        elif not sources and old is None:
            self.add_root(set_id, branch)
        self.propagate(set_id, touched=[branch] if sources and changed else [], moved=[branch] if head is not None else [])

    def delete_branch(self, branch: Branch, *, force: bool) -> None:
        if not force and any(branch in sources for sources in self.sources.values()):
            raise Refused("branch-in-use")
        del self.heads[branch]
        self.sources.pop(branch, None)
        for sources in self.sources.values():
            sources.pop(branch, None)
        for (repo, _), version in self.versions.items():
            if repo == branch[0] and version.label == branch[1]:
                version.label = None

    def forget(self, id: Id) -> None:
        version = self.versions[id]
        if version.by_user or not version.reads:
            raise Refused("not-an-output")
        if version.is_open:
            raise Refused("commit-open")
        if version.forgotten:
            raise Refused("commit-forgotten")
        if id in self.heads.values():
            raise Refused("commit-in-use")
        if any(self.versions[child].is_open for child in self.children(id)):
            raise Refused("commit-open")
        self._check_not_needed([id])
        if any(self.versions[below].is_open for below in self._below({id}) - {id}):
            raise Refused("commit-in-use")
        version.forgotten, version.files = True, {}

    # Removing

    def children(self, id: Id) -> list[Id]:
        return [found for found, version in self.versions.items() if version.parent == id]

    def readers(self, id: Id) -> set[Id]:
        return {found for found, version in self.versions.items() if id in version.reads.values()}

    def _below(self, ids: set[Id]) -> set[Id]:
        found = set(ids)
        while True:
            more = found.union(*(self.readers(id) for id in found))
            if more == found:
                return found
            found = more

    def remove(self, set_id: str, named: set[Id], *, squash: bool, recursive: bool) -> None:
        doomed = self._below(named) if recursive else set(named)
        if any(self.readers(id) - doomed for id in doomed):
            raise Refused("commit-in-use")
        if squash:
            children = {id: self.children(id) for id in doomed}
            if not all(children.values()):
                raise Refused("commit-without-children")
            if any(self.versions[child].is_open for found in children.values() for child in found):
                raise Refused("commit-open")
            self._check_not_needed([id for id in doomed if not self.versions[id].failed])
        else:
            last = [id for id in doomed if id in named or not self.versions[id].is_open]
            if any(set(self.children(id)) - doomed for id in last):
                raise Refused("commit-has-children")
        left = {branch: head for branch, head in self.heads.items() if head is not None and head in doomed}
        for branch, head in left.items():
            above = [id for id in self.history(head) if id not in doomed]
            if above and self.versions[above[0]].forgotten:
                raise Refused("commit-forgotten")
            self.heads[branch] = above[0] if above else None
        read_before = {head: set(self.versions[head].reads.values()) for head in left.values()}
        parents = {id: next((up for up in self.history(id)[1:] if up not in doomed), None) for id in self.versions}
        for id in doomed:
            del self.versions[id]
        for id, version in self.versions.items():
            version.parent = parents[id]
            version.reads = {source: read for source, read in version.reads.items() if read not in doomed}
        self._give_heads(set_id, left, named, read_before)

    def _give_heads(self, set_id: str, left: Mapping[Branch, Id], named: Collection[Id], read_before: Mapping[Id, set[Id]]) -> None:
        """An empty head where none is left; what is made from others is made again where its head has not read what it could."""
        kept = [branch for branch in left if left[branch] in named or not self.sources.get(branch)]
        for branch in sorted(kept, key=lambda branch: len(self.above(branch))):
            if self.heads[branch] is None:
                self.add_root(set_id, branch)
        again = []
        for branch, old in left.items():
            head = self.heads[branch]
            if head is None or self.is_unread(branch):
                again.append(branch)
            elif branch not in kept:
                fresh = set(self.read_now(branch).values()) & read_before[old]
                again += [branch] if fresh - set(self.versions[head].reads.values()) else []
        self.propagate(set_id, touched=again)

    def _check_not_needed(self, ids: Collection[Id]) -> None:
        """What comes after an error builds on the last commit without one."""
        frontier = list(ids)
        while frontier:
            bad = [child for id in frontier for child in self.children(id) if self.versions[child].failed or self.versions[child].is_open]
            if any(child in self.heads.values() or self.versions[child].is_open for child in bad):
                raise Refused("commit-in-use")
            frontier = bad
