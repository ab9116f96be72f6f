"""Kills, many times: a process works on a home until it is killed, another one checks that everything it was told is there, and the next goes on.

Run as a program, which has no threads and has everything imported, so that each process is a fork of it.
"""

import argparse
import contextlib
import dataclasses
import gc
import importlib
import io
import json
import os
import pickle
import random
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from pachyderm_dagster.cli.main import main as pachctl
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.pfs import branches, commits, reading, repos
from pachyderm_dagster.pfs.model import RepoType
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.trees import TreeRoot
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.crash.killing import Killer, count_calls, do_not_sync
from tests.crash.operations import KINDS, MADE, DeleteBranch, Operation, World, choose, prepare
from tests.pfs.versions_model import Files, RepoModel, Version

ROUNDS_A_HOME = 25
# What commands import when they need it: once here instead of in every process.
IMPORTED = ("pachyderm_dagster.cli.fsck", "pachyderm_dagster.storage.open_store", "pachyderm_dagster.storage.buckets")
BY_TIME = "at any time"
LONGEST_SECONDS = 0.3
# What a kill may leave undone of what follows a transaction; `fsck --fix`, or the next change, does it.
UNSAVED = {"structure-unsaved", "commits-unrecorded"}
# What a kill between a write's pack and its transaction leaves, which cannot be told from what a record that was restored forgot.
GHOSTS = "commits-unknown"
Contents = list[tuple[str, Files]]


@dataclass(slots=True)
class State:
    """What is known of a home.

    Attributes:
        clean: fsck had nothing to say when it was looked at last.
        ghosts: what writes held that were killed: of these a rebuild may find records, though they never happened.
    """

    world: World
    clean: bool = True
    ghosts: Contents = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """What was seen."""

    kills: Counter[str] = field(default_factory=Counter)
    places: dict[str, set[int]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    under_way: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)


def run(folder: Path, seed: str, kills: int) -> Tally:
    """Kills so often. Raises what a check raised, with where it was."""
    tally = Tally()
    kinds = [*KINDS, BY_TIME]
    state: State | None = None
    for number in range(kills):
        home = folder / f"home-{number // ROUNDS_A_HOME}"
        os.environ["PACHYDERM_HOME"] = str(home)
        chance = random.Random(f"{seed}/{number}")
        if number % ROUNDS_A_HOME == 0 or state is None:
            state = in_child(new_state, home)
        kind = kinds[number % len(kinds)]
        under_way = work_and_kill(home, state.world, kind, chance, tally)
        tally.kills[kind] += 1
        try:
            state, seen = in_child(check, home, state, under_way, chance)
        except AssertionError as error:
            raise AssertionError(f"round {number} of seed {seed}, killed in {under_way}:\n{error}") from None
        tally.seen.update(seen)
    return tally


def new_state(home: Path) -> State:
    with opened(home) as workspace:
        return State(prepare(workspace))


def get_ready() -> None:
    """Lets what is forked begin with everything that it needs, and share it."""
    do_not_sync()
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()


# The process that is killed


def work_and_kill(home: Path, world: World, kind: str, chance: random.Random, tally: Tally) -> Operation | None:
    """Lets a process work, and be killed in an operation of a kind. Changes the world as it was told; what was begun and not acknowledged is returned."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "wb", buffering=0) as told:
            run_child(lambda: work(home, world, kind, chance, tally.calls, told))
    os.close(writer)
    deadline = time.monotonic() + chance.uniform(0.02, LONGEST_SECONDS) if kind == BY_TIME else None
    with os.fdopen(reader, "rb", buffering=0) as messages:
        heard = b""
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([messages], [], [], left)[0]:
                os.kill(child, signal.SIGKILL)
                deadline = None
            elif piece := os.read(messages.fileno(), 1 << 20):
                heard += piece
            else:
                break
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"the process ended by itself: {status}"
    under_way: Operation | None = None
    armed: tuple[str, int | None] = ("", None)
    for message in read_all(heard):
        match message:
            case ("begin", operation, name, at):
                under_way, armed = operation, (name, at)
            case ("done", id, calls):
                assert under_way is not None
                under_way.predict(world, id or "")
                under_way = None
                tally.calls[armed[0]] = calls
    if under_way is not None:
        tally.under_way[armed[0]] += 1
        if armed[1] is not None:
            tally.places.setdefault(armed[0], set()).add(armed[1])
    return under_way


def work(home: Path, world: World, kind: str, chance: random.Random, calls: Mapping[str, int], told: IO[bytes]) -> None:
    """Does some operations, and then those of a kind until one of their calls is the last. Does not return."""
    killer = Killer()
    count_calls(killer)
    known = dict(calls)

    def do(name: str, *, lethal: bool) -> bool:
        operation = choose(name, world, chance)
        if operation is None:
            return False
        at = chance.randint(1, known[name] + 1) if lethal and name in known else None
        told.write(pickle.dumps(("begin", operation, name, at)))
        killer.arm(at)
        id = operation.perform(workspace)
        killer.count()  # done, and nobody knows yet
        known[name] = killer.calls
        killer.arm(None)
        told.write(pickle.dumps(("done", id, known[name])))
        operation.predict(world, id or "")
        return True

    with opened(home) as workspace:
        for _ in range(chance.randrange(4) if kind != BY_TIME else 10_000):
            do(chance.choice(list(KINDS)), lethal=False)
        for _ in range(40):
            if not do(kind, lethal=True):
                do(chance.choice(list(KINDS)), lethal=False)
        os.kill(os.getpid(), signal.SIGKILL)


def read_all(heard: bytes) -> Iterator[Any]:
    """The messages; a last one that was cut short is none."""
    stream = io.BytesIO(heard)
    while True:
        try:
            yield pickle.load(stream)
        except (EOFError, pickle.UnpicklingError):
            return


# The process that checks


def check(home: Path, state: State, under_way: Operation | None, chance: random.Random) -> tuple[State, list[str]]:
    """Looks at what a killed process left: fsck is content, and all is as acknowledged, what was under way whole or not at all. What it is now."""
    seen = []
    if state.clean and chance.random() < 0.15:
        # The record is lost in the same moment.
        seen.append("rebuilt after the kill")
        state = rebuild(home, state, under_way)
        return State(state.world, state.clean, state.ghosts), seen
    problems = fsck()
    assert {problem["code"] for problem in problems} <= UNSAVED, problems
    clean = not problems
    if problems:
        seen.append("unsaved")
        if chance.random() < 0.5:
            seen.append("fixed")
            fsck("--fix")
            clean = True
    if clean:
        again = fsck("--deep") if chance.random() < 0.3 else fsck()
        if any(problem["code"] == GHOSTS for problem in again):
            seen.append("ghosts told")
            assert state.ghosts or under_way is not None, again
            if chance.random() < 0.5:
                seen.append("ghosts given up")
                fsck("--deep", "--fix", "--drop-unknown")
                assert not fsck("--deep")
        assert {problem["code"] for problem in again} <= {GHOSTS}, again
    with opened(home) as workspace:
        found = observe(workspace)
    happened = [candidate for candidate in futures(state.world, under_way, found) if not differences(candidate, found)]
    if not happened:
        against = "\nor\n".join("\n".join(differences(candidate, found)) for candidate in futures(state.world, under_way, found))
        raise AssertionError(f"found something else than acknowledged:\n{against}")
    ghosts = [*state.ghosts, *ghosts_of(state.world, under_way, found)]
    if under_way is not None:
        seen.append("not happened" if not differences(state.world, found) else "happened")
    left = State(found, clean, ghosts)
    if clean and chance.random() < 0.2:
        seen.append("rebuilt")
        left = rebuild(home, left, None)
    return left, seen


def futures(world: World, under_way: Operation | None, found: World) -> list[World]:
    """What there may be after a kill."""
    worlds = [world]
    if under_way is not None:
        known = {id for model in world.repos.values() for id in model.versions}
        for id in dict.fromkeys(id for model in found.repos.values() for id in model.versions if id not in known) or [""]:
            after = world.copy()
            under_way.predict(after, id)
            worlds.append(after)
    return worlds


def ghosts_of(world: World, under_way: Operation | None, found: World) -> Contents:
    """What a rebuild may find of an operation that did not happen."""
    if under_way is None or differences(world, found):
        return []
    after = world.copy()
    under_way.predict(after, "ghost")
    return changed(world, after)


def changed(before: World, after: World) -> Contents:
    return [
        (repo, version.files)
        for repo, model in after.repos.items()
        for id, version in model.versions.items()
        if repo not in before.repos or before.repos[repo].versions.get(id) != version
    ]


def rebuild(home: Path, state: State, under_way: Operation | None) -> State:
    """Loses the record and makes it again: everything acknowledged is there, but for commits that were open; ghosts may be, too."""
    for path in home.glob("metadata.db*"):
        path.unlink()
    run_pachctl("fsck", "--rebuild")
    problems = fsck("--deep")
    assert not problems, problems
    with opened(home) as workspace:
        found = observe(workspace)
    ghosts = list(state.ghosts)
    if under_way is not None:
        after = state.world.copy()
        under_way.predict(after, "ghost")
        ghosts += changed(state.world, after)
    possible = [finished(world) for world in futures(state.world, under_way, found)]
    if isinstance(under_way, DeleteBranch):
        possible += half_removed(possible[0], under_way)
    tried = [rebuilt_differences(world, found, ghosts) for world in possible]
    if all(tried):
        against = "\nor\n".join("\n".join(lines) for lines in tried)
        raise AssertionError(f"rebuilt something else than acknowledged:\n{against}")
    return State(found, clean=True, ghosts=ghosts)


def half_removed(world: World, under_way: DeleteBranch) -> list[World]:
    """A branch whose removal was under way may be back with the last of the commits that bear its name, wherever its head had been moved to by hand."""
    versions = world.repos[under_way.repo].versions
    own = [id for id, version in versions.items() if version.branch == under_way.branch]
    worlds = []
    for id in own:
        if id not in {versions[other].parent for other in own}:
            worlds.append(world.copy())
            worlds[-1].repos[under_way.repo].heads[under_way.branch] = id
    return worlds


def finished(world: World) -> World:
    """Without what is open."""
    kept = world.copy()
    for model in kept.repos.values():
        for branch, head in model.heads.items():
            model.heads[branch] = next((id for id in model.history(head) if not model.versions[id].is_open), None)
        model.versions = {id: version for id, version in model.versions.items() if not version.is_open}
    return kept


def rebuilt_differences(expected: World, found: World, ghosts: Contents) -> list[str]:
    """What a rebuilt world lacks, and what it has that no killed write explains."""
    told = []
    real = World({}, found.forgotten)
    for repo, model in found.repos.items():
        known = expected.repos.get(repo, RepoModel())
        extra = {id for id in model.versions if id not in known.versions}
        # A branch that began anew, and whose first commit was not finished, is empty.
        begun = {model.heads.get(branch) for branch, head in known.heads.items() if head is None}
        for id in extra:
            version = model.versions[id]
            empty = id in begun and not version.files and version.parent is None
            if (repo, version.files) not in ghosts and not empty and not (repo == MADE and version.is_open):
                told.append(f"{repo}@{id} is there, {shown(version)}, and nobody wrote it")
        # A head may be a ghost, and a branch there for it alone; under ghosts is what was acknowledged.
        heads = {
            branch: next((id for id in model.history(head) if id not in extra), None)
            for branch, head in model.heads.items()
            if head not in extra or branch in known.heads
        }
        real.repos[repo] = RepoModel(heads, {id: version for id, version in model.versions.items() if id not in extra})
    return told + differences(expected, real)


def differences(expected: World, found: World) -> list[str]:
    """How two worlds differ, in lines."""
    lines = [f"repos: expected {list(expected.repos)}, found {list(found.repos)}"] if set(expected.repos) != set(found.repos) else []
    for repo in expected.repos.keys() & found.repos.keys():
        ours, theirs = expected.repos[repo], found.repos[repo]
        for what, left, right in (("branch ", ours.heads, theirs.heads), ("", ours.versions, theirs.versions)):
            for name in left.keys() | right.keys():
                one, other = left.get(name, "nothing"), right.get(name, "nothing")
                if one != other:
                    lines.append(f"{what}{repo}@{name}: expected {shown(one)}, found {shown(other)}")
    if expected.forgotten != found.forgotten:
        lines.append(f"forgotten: expected {expected.forgotten}, found {found.forgotten}")
    return lines


def shown(value: object) -> str:
    if not isinstance(value, Version):
        return repr(value)
    files = {path: f"{len(data)} bytes, {data[:4].hex()}" for path, data in value.files.items()}
    return repr({**dataclasses.asdict(dataclasses.replace(value, files={})), "files": files})


def observe(workspace: Workspace) -> World:
    """Everything that there is."""
    world = World()
    contents: dict[Content, bytes] = {}
    trees: dict[bytes, Files] = {}
    with workspace.database.read() as txn:
        listed = [repo.name for repo in repos.list_repo(txn, type=RepoType.USER)]
        of_repo = {name: commits.list_commit(txn, name, oldest_first=True) for name in listed}
        heads = {name: {branch.name.name: branch.head for branch in branches.list_branch(txn, name)} for name in listed}
    for name, members in of_repo.items():
        model = world.repos[name.name] = RepoModel(dict(heads[name]))
        for commit in members:
            encoded = commit.tree if commit.tree is not None or commit.forgotten else workspace.pfs.root(f"{name.name}@{commit.id}").encode()
            if encoded is not None and encoded not in trees:
                trees[encoded] = read_files(workspace, TreeRoot.decode(encoded), contents)
            files = {} if encoded is None else trees[encoded]
            model.versions[commit.id] = Version(commit.parent, files, commit.branch, is_open=commit.finished is None, failed=commit.error is not None)
            world.forgotten |= {commit.id} if commit.forgotten else set()
    return world


def read_files(workspace: Workspace, root: TreeRoot, contents: dict[Content, bytes]) -> Files:
    """Every file; the same bytes at the same place are read once."""
    files = {}
    for row in reading.glob_files(workspace.pfs.trees, root, "**").to_pylist():
        if row["type"] == "file":
            at = reading.get_content(workspace.pfs.trees, root, row["path"], label="")
            if at not in contents:
                contents[at] = b"".join(workspace.pfs.reader.stream(at))
            files[row["path"]] = contents[at]
    return files


# Processes


@contextlib.contextmanager
def opened(home: Path) -> Iterator[Workspace]:
    """A home, whose collections that were killed are over: their leases would run out by themselves."""
    workspace = open_workspace(os.environ)
    try:
        with workspace.database.engine.begin() as connection:
            connection.execute(sa.delete(t.lease))
        yield workspace
    finally:
        workspace.close()


def fsck(*words: str) -> list[dict[str, Any]]:
    """The problems that it finds."""
    os.environ.pop("COLUMNS", None)
    return [json.loads(line) for line in run_pachctl("fsck", *words, "-o", "json", status=None).splitlines()]


def run_pachctl(*words: str, status: int | None = 0) -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        returned = pachctl(words)
    assert status is None or returned == status, (words, returned, out.getvalue(), err.getvalue())
    assert returned == 0 or "[problems-found]" in err.getvalue(), err.getvalue()
    return out.getvalue()


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own, which the next one inherits nothing of. Raises AssertionError with its stack when it raised."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "wb") as answer:
            run_child(lambda: answer.write(pickle.dumps(function(*arguments))), answer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answered = stream.read()
    os.waitpid(child, 0)
    result = pickle.loads(answered)
    if isinstance(result, _Failed):
        raise AssertionError(result.stack)
    return result


@dataclass(frozen=True, slots=True)
class _Failed:
    stack: str


def run_child(function: Callable[[], object], answer: IO[bytes] | None = None) -> None:
    """Ends the process with a function."""
    try:
        function()
    except BaseException:  # noqa: BLE001  the parent tells of it
        if answer is None:
            traceback.print_exc()
        else:
            answer.write(pickle.dumps(_Failed(traceback.format_exc())))
    if answer is not None:
        answer.flush()
    sys.stderr.flush()
    os._exit(1)


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Kills a process that works on a home, again and again.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--kills", type=int, default=100)
    asked = parser.parse_args(words)
    get_ready()
    tally = run(asked.folder, asked.seed, asked.kills)
    places = {kind: f"{len(tally.places.get(kind, ()))} of {calls}" for kind, calls in tally.calls.items()}
    summary = {"kills": sum(tally.kills.values()), "under way": sum(tally.under_way.values()), "seen": tally.seen, "calls": places}
    sys.stdout.write(json.dumps(summary) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
