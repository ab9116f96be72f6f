"""What the process does that is killed: each operation in the real system, and what it means for dictionaries."""

import copy
import datetime as dt
import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from pachyderm_dagster.errors import StateError
from pachyderm_dagster.pfs import user_transactions
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.pfs.requests import CreateBranch, FinishCommit, StartCommit
from pachyderm_dagster.workspace import Workspace
from tests.pfs.versions_model import Files, RepoModel

FREE = ("data", "copies")
SOURCE, MADE = "source", "made"  # made@master is made from source@master: each set has a commit in both
BRANCHES = ("master", "fork", "old")
PATHS = ("/a", "/b/c", "/b/d", "/e/f/g")
SMALL = 2000
LARGE = (1_300_000, 6_000_000, 9_000_000)  # one chunk, one or two, several


@dataclass(slots=True)
class World:
    """All that is acknowledged."""

    repos: dict[str, RepoModel] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)

    def copy(self) -> "World":
        """One that can be changed; the files are shared."""
        models = {repo: RepoModel(dict(model.heads), {id: copy.copy(version) for id, version in model.versions.items()}) for repo, model in self.repos.items()}
        return World(models, set(self.forgotten))


class Operation(Protocol):
    """Something that happens whole or not at all."""

    def perform(self, workspace: Workspace) -> str | None:
        """Does it. Returns the id of the commit that it made."""
        ...

    def predict(self, world: World, id: str) -> None:
        """Does it to the model; `id` is that of the commit that it makes. Raises StateError where it is refused."""
        ...


@functools.lru_cache(maxsize=256)
def content(number: int, size: int) -> bytes:
    """Bytes that no two numbers share."""
    return random.Random(number).randbytes(size)


@dataclass(frozen=True, slots=True)
class Put:
    """A file, in a commit of its own or into the one that is open."""

    repo: str
    branch: str
    path: str
    number: int
    size: int
    append: bool = False

    def perform(self, workspace: Workspace) -> str | None:
        with workspace.pfs.modify_file(f"{self.repo}@{self.branch}") as files:
            files.put_bytes(self.path, content(self.number, self.size), append=self.append)
        return files.commit.id

    def predict(self, world: World, id: str) -> None:
        data = content(self.number, self.size)
        _write(world, self.repo, self.branch, id, lambda files: {**files, self.path: files.get(self.path, b"") + data if self.append else data})


@dataclass(frozen=True, slots=True)
class Delete:
    """A file."""

    repo: str
    branch: str
    path: str

    def perform(self, workspace: Workspace) -> str | None:
        with workspace.pfs.modify_file(f"{self.repo}@{self.branch}") as files:
            files.delete(self.path)
        return files.commit.id

    def predict(self, world: World, id: str) -> None:
        _write(world, self.repo, self.branch, id, lambda files: {path: data for path, data in files.items() if path != self.path})


@dataclass(frozen=True, slots=True)
class Copy:
    """A file from any commit."""

    source: str
    commit: str
    path: str
    repo: str
    branch: str

    def perform(self, workspace: Workspace) -> str | None:
        return workspace.pfs.copy_file(f"{self.source}@{self.commit}:{self.path}", f"{self.repo}@{self.branch}:/copy").id

    def predict(self, world: World, id: str) -> None:
        data = world.repos[self.source].versions[self.commit].files[self.path]
        _write(world, self.repo, self.branch, id, lambda files: {**files, "/copy": data})


@dataclass(frozen=True, slots=True)
class Start:
    """A commit."""

    repo: str
    branch: str

    def perform(self, workspace: Workspace) -> str | None:
        return workspace.pfs.start_commit(f"{self.repo}@{self.branch}").id

    def predict(self, world: World, id: str) -> None:
        model = world.repos[self.repo]
        model.add(id, self.branch, model.content(self.branch), is_open=True)


@dataclass(frozen=True, slots=True)
class Finish:
    """A commit, with an error or without."""

    repo: str
    commit: str
    failed: bool

    def perform(self, workspace: Workspace) -> str | None:
        workspace.pfs.finish_commit(f"{self.repo}@{self.commit}", error="on purpose" if self.failed else None)
        return None

    def predict(self, world: World, id: str) -> None:
        world.repos[self.repo].finish(self.commit, failed=self.failed)


@dataclass(frozen=True, slots=True)
class Move:
    """The head of a branch."""

    repo: str
    branch: str
    commit: str

    def perform(self, workspace: Workspace) -> str | None:
        workspace.pfs.create_branch(f"{self.repo}@{self.branch}", head=self.commit)
        return None

    def predict(self, world: World, id: str) -> None:
        world.repos[self.repo].heads[self.branch] = self.commit


@dataclass(frozen=True, slots=True)
class DeleteBranch:
    """The branch; its commits stay."""

    repo: str
    branch: str

    def perform(self, workspace: Workspace) -> str | None:
        workspace.pfs.delete_branch(f"{self.repo}@{self.branch}")
        return None

    def predict(self, world: World, id: str) -> None:
        world.repos[self.repo].delete_branch(self.branch)


@dataclass(frozen=True, slots=True)
class Remove:
    """Squashes or drops a set, in every repo that has it."""

    commit: str
    squash: bool

    def perform(self, workspace: Workspace) -> str | None:
        if self.squash:
            workspace.pfs.squash_commit_set(self.commit)
        else:
            workspace.pfs.drop_commit_set(self.commit)
        return None

    def predict(self, world: World, id: str) -> None:
        # Until a rebuild made it anew, what was made is of the set that it was made from.
        if self.commit in world.repos[SOURCE].versions and self.commit not in world.repos[MADE].versions:
            raise StateError("commit-in-use", self.commit)
        for repo, model in world.repos.items():
            if self.commit not in model.versions:
                continue
            if repo not in FREE and model.versions[self.commit].parent is None:
                raise StateError("commit-in-use", self.commit)
            if model.squash(self.commit) if self.squash else model.drop(self.commit):
                raise StateError("no-head", "an empty commit with an id of its own would be made")
            world.forgotten.discard(self.commit)
            if world.forgotten & set(model.heads.values()):
                raise StateError("commit-forgotten", self.commit)


@dataclass(frozen=True, slots=True)
class NewRepo:
    """A repo, with a file in it."""

    repo: str

    def perform(self, workspace: Workspace) -> str | None:
        workspace.pfs.create_repo(self.repo)
        return None

    def predict(self, world: World, id: str) -> None:
        world.repos[self.repo] = RepoModel()


@dataclass(frozen=True, slots=True)
class DeleteRepo:
    """All of a repo."""

    repo: str

    def perform(self, workspace: Workspace) -> str | None:
        workspace.pfs.delete_repo(self.repo)
        return None

    def predict(self, world: World, id: str) -> None:
        del world.repos[self.repo]


@dataclass(frozen=True, slots=True)
class Derive:
    """A file in the source, upon which a commit of the same set opens in what is made from it."""

    number: int

    def perform(self, workspace: Workspace) -> str | None:
        with workspace.pfs.modify_file(f"{SOURCE}@master") as files:
            files.put_bytes("/in", content(self.number, SMALL))
        return files.commit.id

    def predict(self, world: World, id: str) -> None:
        source, made = world.repos[SOURCE], world.repos[MADE]
        source.add(id, "master", {**source.content("master"), "/in": content(self.number, SMALL)})
        made.add(id, "master", made.content("master"), is_open=True)


@dataclass(frozen=True, slots=True)
class Forget:
    """What a commit was made to hold."""

    commit: str

    def perform(self, workspace: Workspace) -> str | None:
        workspace.pfs.forget_commit(f"{MADE}@{self.commit}")
        return None

    def predict(self, world: World, id: str) -> None:
        world.forgotten.add(self.commit)
        world.repos[MADE].versions[self.commit].files = {}


@dataclass(frozen=True, slots=True)
class Collect:
    """Garbage, however young."""

    def perform(self, workspace: Workspace) -> str | None:
        workspace.collect_garbage(grace=dt.timedelta(0))
        return None

    def predict(self, world: World, id: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class StartTogether:
    """Commits in two repos, and a branch moved, in a transaction of the user's."""

    branch: str
    kept: str | None

    def perform(self, workspace: Workspace) -> str | None:
        transaction = workspace.database.write(user_transactions.start_transaction).id
        for repo in FREE:
            workspace.pps.append_request(transaction, StartCommit(_branch(repo, self.branch)))
        if self.kept is not None:
            workspace.pps.append_request(transaction, CreateBranch(_branch("data", "kept"), head=parse_reference(f"data@{self.kept}")))
        return workspace.pps.finish_transaction(transaction).id

    def predict(self, world: World, id: str) -> None:
        for repo in FREE:
            Start(repo, self.branch).predict(world, id)
        if self.kept is not None:
            world.repos["data"].heads["kept"] = self.kept


@dataclass(frozen=True, slots=True)
class FinishTogether:
    """The commits of a set that are open, in a transaction of the user's."""

    commit: str

    def perform(self, workspace: Workspace) -> str | None:
        transaction = workspace.database.write(user_transactions.start_transaction).id
        for repo in FREE:
            workspace.pps.append_request(transaction, FinishCommit(parse_reference(f"{repo}@{self.commit}")))
        workspace.pps.finish_transaction(transaction)
        return None

    def predict(self, world: World, id: str) -> None:
        for repo in FREE:
            world.repos[repo].finish(self.commit, failed=False)


def prepare(workspace: Workspace) -> World:
    """A home to begin with."""
    for repo in (*FREE, SOURCE, MADE):
        workspace.pfs.create_repo(repo)
    with workspace.pfs.modify_file(f"{SOURCE}@master") as files:
        files.put_bytes("/in", content(0, SMALL))
    world = World({repo: RepoModel() for repo in (*FREE, SOURCE, MADE)})
    world.repos[SOURCE].add(files.commit.id, "master", {"/in": content(0, SMALL)})
    workspace.pfs.create_branch(f"{MADE}@master", provenance=[f"{SOURCE}@master"])
    root = workspace.pfs.finish_commit(f"{MADE}@master")
    world.repos[MADE].add(root.id, "master", {})
    return world


def choose(kind: str, world: World, chance: random.Random) -> Operation | None:
    """An operation that can be done; None when there is none of this kind, or none was found."""
    options = list(KINDS[kind](world, chance))
    chance.shuffle(options)
    for option in options[:20]:
        try:
            option.predict(world.copy(), "0" * 32)
        except StateError:
            continue
        return option
    return None


def _puts(size: int | None) -> Callable[[World, random.Random], Iterator[Operation]]:
    def options(world: World, chance: random.Random) -> Iterator[Operation]:
        where = [(repo, chance.choice(BRANCHES)) for repo in FREE] * 3 + [(MADE, "master")] * (world.repos[MADE].open_head("master") is not None)
        repo, branch = chance.choice(where)
        length = size if size is not None else chance.choice(LARGE)
        # Few numbers, so that the same content comes again after it was given up.
        number = chance.randrange(4) if size is None else chance.randrange(1000)
        yield Put(repo, branch, chance.choice(PATHS), number, length, chance.random() < 0.25)

    return options


def _deletes(world: World, chance: random.Random) -> Iterator[Operation]:
    return (Delete(repo, branch, path) for repo in FREE for branch in world.repos[repo].heads for path in world.repos[repo].content(branch))


def _copies(world: World, chance: random.Random) -> Iterator[Operation]:
    for source, model in world.repos.items():
        for id, version in model.versions.items():
            yield from (Copy(source, id, path, chance.choice(FREE), chance.choice(BRANCHES)) for path in version.files if not version.is_open)


def _starts(world: World, chance: random.Random) -> Iterator[Operation]:
    return (Start(repo, branch) for repo in FREE for branch in BRANCHES if world.repos[repo].open_head(branch) is None)


def _finishes(world: World, chance: random.Random) -> Iterator[Operation]:
    for repo, model in world.repos.items():
        yield from (Finish(repo, id, chance.random() < 0.1 and repo in FREE) for id, version in model.versions.items() if version.is_open)


def _moves(world: World, chance: random.Random) -> Iterator[Operation]:
    for repo in FREE:
        yield from (Move(repo, chance.choice(BRANCHES), id) for id in world.repos[repo].versions)


def _branch_deletions(world: World, chance: random.Random) -> Iterator[Operation]:
    return (DeleteBranch(repo, branch) for repo in FREE for branch in world.repos[repo].heads)


def _removals(*, squash: bool) -> Callable[[World, random.Random], Iterator[Operation]]:
    return lambda world, chance: (Remove(id, squash) for id in dict.fromkeys(id for model in world.repos.values() for id in model.versions))


def _repos(world: World, chance: random.Random) -> Iterator[Operation]:
    return (DeleteRepo(repo) if repo in world.repos else NewRepo(repo) for repo in ("extra", "other"))


def _derivations(world: World, chance: random.Random) -> Iterator[Operation]:
    if world.repos[MADE].open_head("master") is None:
        yield Derive(chance.randrange(1000))


def _forgettings(world: World, chance: random.Random) -> Iterator[Operation]:
    model = world.repos[MADE]
    # The first one reads nothing; what is under one that is open is still needed.
    needed = {*world.forgotten, model.heads["master"], *(version.parent for version in model.versions.values() if version.is_open)}
    return (Forget(id) for id, version in model.versions.items() if version.parent is not None and not version.is_open and id not in needed)


def _together(world: World, chance: random.Random) -> Iterator[Operation]:
    kept = [id for id, version in world.repos["data"].versions.items() if not version.is_open]
    for branch in BRANCHES:
        if all(world.repos[repo].open_head(branch) is None for repo in FREE):
            yield StartTogether(branch, chance.choice(kept) if kept else None)
    for id, version in world.repos["data"].versions.items():
        other = world.repos["copies"].versions.get(id)
        if version.is_open and other is not None and other.is_open:
            yield FinishTogether(id)


KINDS: dict[str, Callable[[World, random.Random], Iterator[Operation]]] = {
    "put": _puts(SMALL),
    "put large": _puts(None),
    "delete": _deletes,
    "copy": _copies,
    "start": _starts,
    "finish": _finishes,
    "move": _moves,
    "delete branch": _branch_deletions,
    "squash": _removals(squash=True),
    "drop": _removals(squash=False),
    "repo": _repos,
    "derive": _derivations,
    "forget": _forgettings,
    "collect": lambda world, chance: iter([Collect()]),
    "transaction": _together,
}


def _write(world: World, repo: str, branch: str, id: str, change: Callable[[Files], Files]) -> None:
    model = world.repos[repo]
    opened = model.open_head(branch)
    if opened is not None:
        opened.files = change(opened.files)
    else:
        model.add(id, branch, change(model.content(branch)))


def _branch(repo: str, branch: str) -> BranchName:
    return BranchName(RepoName("default", repo), branch)
