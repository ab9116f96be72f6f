"""Versions of one repo as dictionaries: what any store of them has to agree with."""

from dataclasses import dataclass, field

from pachyderm_dagster.errors import StateError
from pachyderm_dagster.pfs.model import Trigger

Files = dict[str, bytes]


@dataclass(slots=True)
class Version:
    """A commit: its whole content, finished or not."""

    parent: str | None
    files: Files
    branch: str | None
    is_open: bool = False
    failed: bool = False
    is_root: bool = False
    """The empty commit of a branch that began without one."""

    @property
    def size(self) -> int:
        """Known when it is finished."""
        return 0 if self.is_open else sum(map(len, self.files.values()))


@dataclass(slots=True)
class RepoModel:
    """Branches, commits and triggers. New commits get their ids from outside."""

    heads: dict[str, str | None] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)

    def history(self, id: str | None) -> list[str]:
        """A commit and its ancestors, newest first."""
        found = []
        while id is not None:
            found.append(id)
            id = self.versions[id].parent
        return found

    def readable(self, id: str | None) -> Files:
        """What a commit behind this one begins with."""
        good = (self.versions[found] for found in self.history(id))
        return next((dict(version.files) for version in good if not version.is_open and not version.failed), {})

    def open_head(self, branch: str) -> Version | None:
        head = self.heads.get(branch)
        return self.versions[head] if head is not None and self.versions[head].is_open else None

    def content(self, branch: str) -> Files:
        """What a write to a branch changes."""
        opened = self.open_head(branch)
        return dict(opened.files) if opened is not None else self.readable(self.heads.get(branch))

    def add(self, id: str, branch: str, files: Files, *, is_open: bool = False) -> None:
        """A commit behind the head of a branch."""
        self.versions[id] = Version(self.heads.get(branch), files, branch, is_open=is_open)
        self.heads[branch] = id
        if not is_open:
            self.set_off(id)

    def add_root(self, id: str, branch: str, *, label: str) -> None:
        """An empty head for a branch that has none; several branches may share it."""
        self.versions.setdefault(id, Version(None, {}, label, is_root=True))
        self.heads[branch] = id

    def finish(self, id: str, *, failed: bool) -> None:
        self.versions[id].is_open = False
        self.versions[id].failed = failed
        if not failed:
            self.set_off(id)

    def set_off(self, id: str) -> None:
        """Moves the branches whose triggers a commit meets, and those that follow them."""
        branch = self.versions[id].branch
        frontier = [branch] if branch is not None and id in self.history(self.heads.get(branch)) else []
        while frontier:
            source = frontier.pop()
            for follower, trigger in self.triggers.items():
                if trigger.branch == source and self._is_met(trigger, self.heads[follower], id):
                    self.heads[follower] = id
                    frontier.append(follower)

    def follows(self, branch: str, source: str) -> bool:
        """Whether `source` is the branch or moves after it."""
        at: str | None = source
        while at is not None and at != branch:
            at = self.triggers[at].branch if at in self.triggers else None
        return at == branch

    def children(self, id: str) -> list[str]:
        return [found for found, version in self.versions.items() if version.parent == id]

    def squash(self, id: str) -> list[str]:
        """Removes a commit that others came after. Returns the branches that have no head left.

        Raises:
            StateError: as the real one.
        """
        children = self.children(id)
        if not children:
            raise StateError("commit-without-children", id)
        if any(self.versions[child].is_open for child in children):
            raise StateError("commit-open", id)
        frontier = [] if self.versions[id].failed else children
        while frontier:
            bad = [child for child in frontier if self.versions[child].failed or self.versions[child].is_open]
            if any(child in self.heads.values() or self.versions[child].is_open for child in bad):
                raise StateError("commit-in-use", id)
            frontier = [below for child in bad for below in self.children(child)]
        return self._remove(id)

    def drop(self, id: str) -> list[str]:
        """Removes a commit that nothing came after. Returns and raises as `squash`."""
        if self.children(id):
            raise StateError("commit-has-children", id)
        return self._remove(id)

    def delete_branch(self, branch: str) -> None:
        """Removes a branch; its commits stay.

        Raises:
            StateError: as the real one.
        """
        if branch in self.triggers or any(trigger.branch == branch for trigger in self.triggers.values()):
            raise StateError("branch-in-use", branch)
        del self.heads[branch]
        for version in self.versions.values():
            version.branch = None if version.branch == branch else version.branch

    def _remove(self, id: str) -> list[str]:
        removed = self.versions.pop(id)
        for version in self.versions.values():
            version.parent = removed.parent if version.parent == id else version.parent
        moved = [branch for branch, head in self.heads.items() if head == id]
        self.heads.update(dict.fromkeys(moved, removed.parent))
        return moved if removed.parent is None else []

    def _is_met(self, trigger: Trigger, head: str | None, id: str) -> bool:
        if head is not None and id in self.history(head):
            return False
        chain = self.history(id)
        count = chain.index(head) if head in chain else len(chain) - self.versions[chain[-1]].is_root
        met = []
        if trigger.size:
            met.append(self.versions[id].size - (self.versions[head].size if head is not None else 0) >= int(trigger.size))
        if trigger.commits:
            met.append(count >= trigger.commits)
        return all(met) if trigger.all else any(met)
