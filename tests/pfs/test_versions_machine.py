"""The version model against dictionaries: commits, forks, heads moved by hand and by triggers, errors, squash, drop, copies and deletion, in any order.

Meanwhile garbage is collected, writers overtake each other, and the record is lost and rebuilt.
"""

import contextlib
import datetime as dt
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import PachydermError, StateError
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.collecting import DEFAULT_GRACE
from pachyderm_dagster.pfs.model import RepoName, Trigger
from pachyderm_dagster.pps.rebuilding import rebuild_home
from pachyderm_dagster.workspace import open_workspace
from tests.pfs.versions_model import Files, RepoModel
from tests.pfs.whole import check_whole
from tests.records import SERVER, new_record_url

REPOS = ("data", "copies")
REPO = st.sampled_from(REPOS)
BRANCH = st.sampled_from(["master", "fork", "release", "weekly"])
PATH = st.sampled_from(["/a", "/b/c", "/b/d", "/e/f/g"])
CONDITIONS = st.builds(
    lambda size, count, every: {"size": size, "commits": count, "all": every}, st.sampled_from(["", "3", "12"]), st.integers(0, 3), st.booleans()
)

Change = Callable[[Files], Files]


class TickingClock(ManualClock):
    """A clock that never says the same time twice, so that of two records of a commit one is newer."""

    def now(self) -> dt.datetime:
        self.advance(dt.timedelta(microseconds=1))
        return super().now()


class Versions(RuleBasedStateMachine):
    """Two repos, and the model of each."""

    store_url: str | None = None
    """Of the store; None for a folder of the home."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = contextlib.ExitStack()
        folder = Path(tempfile.mkdtemp())
        self.opened.callback(shutil.rmtree, folder)
        url = self.opened.enter_context(new_record_url(folder))
        self.folder = folder
        self.clock = TickingClock()
        environ = {"PACHYDERM_HOME": str(folder), "PACHYDERM_METADATA_URL": url}
        if self.store_url is not None:
            environ["PACHYDERM_STORAGE_URL"] = self.store_url
        self.workspace = open_workspace(environ, clock=self.clock)
        self.opened.callback(self.workspace.close)
        self.pfs = self.workspace.pfs
        # Knows nothing of what the first one remembers, as another process.
        self.other = Pfs(self.workspace.database, self.workspace.store)
        self.models = {repo: RepoModel() for repo in REPOS}

    def teardown(self) -> None:
        with self.opened:
            check_whole(self.workspace)

    @initialize()
    def create(self) -> None:
        for repo in REPOS:
            self.pfs.create_repo(repo)

    # Content

    @rule(repo=REPO, branch=BRANCH, path=PATH, data=st.binary(max_size=8), append=st.booleans())
    def put(self, repo: str, branch: str, path: str, data: bytes, append: bool) -> None:
        with self.pfs.modify_file(f"{repo}@{branch}") as changes:
            changes.put_bytes(path, data, append=append)
        self.wrote(repo, branch, changes.commit.id, lambda files: {**files, path: files.get(path, b"") + data if append else data})

    @rule(repo=REPO, branch=BRANCH, path=PATH)
    def delete(self, repo: str, branch: str, path: str) -> None:
        with self.pfs.modify_file(f"{repo}@{branch}") as changes:
            changes.delete(path)
        self.wrote(repo, branch, changes.commit.id, lambda files: {key: data for key, data in files.items() if key != path})

    @rule(repo=REPO, branch=BRANCH)
    def replace_directory(self, repo: str, branch: str) -> None:
        with self.pfs.modify_file(f"{repo}@{branch}") as changes:
            changes.delete_directory("/b")
            changes.put_bytes("/b/new", b"new")
        self.wrote(repo, branch, changes.commit.id, lambda files: {key: data for key, data in files.items() if not key.startswith("/b/")} | {"/b/new": b"new"})

    @rule(data=st.data(), source=REPO, copied_to=REPO, branch=BRANCH)
    def copy(self, data: st.DataObject, source: str, copied_to: str, branch: str) -> None:
        versions = {id: version for id, version in self.models[source].versions.items() if version.files}
        if not versions:
            return
        id = data.draw(st.sampled_from(sorted(versions)))
        path = data.draw(st.sampled_from(sorted(versions[id].files)))
        copied = versions[id].files[path]
        commit = self.pfs.copy_file(f"{source}@{id}:{path}", f"{copied_to}@{branch}:/a")
        self.wrote(copied_to, branch, commit.id, lambda files: {**files, "/a": copied})

    @rule(repo=REPO, branch=BRANCH, path=PATH)
    def abandon(self, repo: str, branch: str, path: str) -> None:
        with contextlib.suppress(KeyError), self.pfs.modify_file(f"{repo}@{branch}") as changes:
            changes.put_bytes(path, b"never seen")
            raise KeyError

    # Commits

    @rule(repo=REPO, branch=BRANCH)
    def start(self, repo: str, branch: str) -> None:
        model = self.models[repo]
        if model.open_head(branch) is not None:
            with self.refused("commit-open"):
                self.pfs.start_commit(f"{repo}@{branch}")
            return
        files = model.content(branch)
        model.add(self.pfs.start_commit(f"{repo}@{branch}").id, branch, files, is_open=True)

    @precondition(lambda self: any(model.versions for model in self.models.values()))
    @rule(data=st.data(), branch=BRANCH)
    def start_elsewhere(self, data: st.DataObject, branch: str) -> None:
        repo, parent = self.choose(data)
        model = self.models[repo]
        if model.versions[parent].is_open:
            with self.refused("commit-open"):
                self.pfs.start_commit(f"{repo}@{branch}", parent=parent)
            return
        files = model.readable(parent)
        id = self.pfs.start_commit(f"{repo}@{branch}", parent=parent).id
        model.heads[branch] = parent
        model.add(id, branch, files, is_open=True)

    @precondition(lambda self: any(version.is_open for model in self.models.values() for version in model.versions.values()))
    @rule(data=st.data(), failed=st.booleans())
    def finish(self, data: st.DataObject, failed: bool) -> None:
        repo, id = self.choose(data, open_only=True)
        self.pfs.finish_commit(f"{repo}@{id}", error="on purpose" if failed else None)
        self.models[repo].finish(id, failed=failed)

    @precondition(lambda self: any(model.versions for model in self.models.values()))
    @rule(data=st.data())
    def squash(self, data: st.DataObject) -> None:
        repo, id = self.choose(data)
        with self.same_refusal(lambda: self.models[repo].squash(id), repo):
            self.pfs.squash_commit_set(id)

    @precondition(lambda self: any(model.versions for model in self.models.values()))
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        repo, id = self.choose(data)
        with self.same_refusal(lambda: self.models[repo].drop(id), repo):
            self.pfs.drop_commit(f"{repo}@{id}", recursive=True)

    # Branches and repos

    @precondition(lambda self: any(model.versions for model in self.models.values()))
    @rule(data=st.data(), branch=BRANCH)
    def move(self, data: st.DataObject, branch: str) -> None:
        repo, id = self.choose(data)
        assert self.pfs.create_branch(f"{repo}@{branch}", head=id).head == id
        self.models[repo].heads[branch] = id

    @rule(repo=REPO, branch=BRANCH, source=BRANCH, conditions=CONDITIONS)
    def follow(self, repo: str, branch: str, source: str, conditions: dict[str, object]) -> None:
        model = self.models[repo]
        trigger = Trigger(branch=source, **conditions)  # type: ignore[arg-type]
        if model.follows(branch, source):
            with self.refused("trigger-invalid"):
                self.pfs.create_branch(f"{repo}@{branch}", trigger=trigger)
            return
        self.pfs.create_branch(f"{repo}@{branch}", trigger=trigger)
        model.triggers[branch] = trigger
        self.add_roots(repo, [name for name in (source, branch) if name not in model.heads])

    @precondition(lambda self: any(model.triggers for model in self.models.values()))
    @rule(data=st.data())
    def stop_following(self, data: st.DataObject) -> None:
        repo, branch = data.draw(st.sampled_from(sorted((repo, branch) for repo, model in self.models.items() for branch in model.triggers)))
        self.pfs.create_branch(f"{repo}@{branch}", keep_trigger=False)
        del self.models[repo].triggers[branch]

    @precondition(lambda self: any(model.heads for model in self.models.values()))
    @rule(data=st.data())
    def delete_branch(self, data: st.DataObject) -> None:
        repo, branch = data.draw(st.sampled_from(sorted((repo, branch) for repo, model in self.models.items() for branch in model.heads)))
        with self.same_refusal(lambda: self.models[repo].delete_branch(branch), repo):
            self.pfs.delete_branch(f"{repo}@{branch}")

    @rule()
    def delete_repo(self) -> None:
        self.pfs.delete_repo("copies")
        self.pfs.create_repo("copies")
        self.models["copies"] = RepoModel()

    # What happens meanwhile

    @rule(repo=REPO, branch=BRANCH, path=PATH, at=st.sampled_from(["before it looks", "before its transaction"]))
    def overtake(self, repo: str, branch: str, path: str, at: str) -> None:
        reference = f"{repo}@{branch}"
        second: list[str] = []

        def put_first() -> None:
            if second:
                return
            second.append("")
            with self.other.modify_file(reference) as changes:
                changes.put_bytes("/first", b"first")
            second[0] = changes.commit.id

        database = self.workspace.database
        write_in_turn = database.write_in_turn

        def overtaken(changes: Any) -> Any:
            put_first()
            return write_in_turn(changes)

        with self.pfs.modify_file(reference) as changes:
            changes.put_bytes(path, b"second", append=True)
            if at == "before it looks":
                put_first()
            else:
                database.write_in_turn = overtaken  # type: ignore[method-assign]
        database.write_in_turn = write_in_turn  # type: ignore[method-assign]
        self.wrote(repo, branch, second[0], lambda files: {**files, "/first": b"first"})
        self.wrote(repo, branch, changes.commit.id, lambda files: {**files, path: files.get(path, b"") + b"second"})

    @rule(grace=st.sampled_from([dt.timedelta(0), DEFAULT_GRACE]), aged=st.booleans())
    def collect(self, grace: dt.timedelta, aged: bool) -> None:
        if aged:
            for path in (self.folder / "objects").rglob("*"):
                if path.is_file():
                    os.utime(path, (1, 1))
        self.clock.advance(dt.timedelta(days=2))
        self.workspace.collect_garbage(grace=grace)

    @precondition(lambda _: SERVER is None)  # A record on a server is not emptied from here.
    @rule()
    def lose_and_rebuild(self) -> None:
        for repo, model in self.models.items():
            # What is open is lost with the record, as the manual says.
            for id in [id for id, version in model.versions.items() if version.is_open]:
                self.pfs.finish_commit(f"{repo}@{id}")
                model.finish(id, failed=False)
        self.clock.advance(dt.timedelta(seconds=1))  # which names the copy of the record
        made = rebuild_home(self.workspace.database, self.workspace.store, force=True, progress=lambda _: None)
        assert made.losses == ()

    # What must hold

    @invariant()
    def every_branch_points_where_it_should(self) -> None:
        with self.pfs.database.read() as txn:
            for repo, model in self.models.items():
                listed = {commit.id: commit for commit in commits.list_commit(txn, RepoName("default", repo))}
                assert {id: commit.parent for id, commit in listed.items()} == {id: version.parent for id, version in model.versions.items()}
                assert {id: commit.branch for id, commit in listed.items()} == {id: version.branch for id, version in model.versions.items()}
        for repo, model in self.models.items():
            assert {branch: self.pfs.inspect_branch(f"{repo}@{branch}").head for branch in model.heads} == model.heads

    @invariant()
    def every_version_reads_as_it_was_written(self) -> None:
        for repo, model in self.models.items():
            for id in {*model.heads.values(), *list(model.versions)[-3:]} - {None}:
                assert self.read(f"{repo}@{id}") == model.versions[str(id)].files

    # Help

    def wrote(self, repo: str, branch: str, id: str, change: Change) -> None:
        model = self.models[repo]
        opened = model.open_head(branch)
        if opened is not None:
            assert id == model.heads[branch]
            opened.files = change(opened.files)
        else:
            model.add(id, branch, change(model.content(branch)))

    def choose(self, data: st.DataObject, *, open_only: bool = False) -> tuple[str, str]:
        versions = [(repo, id) for repo, model in self.models.items() for id, version in model.versions.items() if version.is_open or not open_only]
        return data.draw(st.sampled_from(versions))

    def add_roots(self, repo: str, branches: list[str]) -> None:
        for branch in branches:
            root = self.pfs.inspect_commit(f"{repo}@{branch}")
            # Which of several branches a shared root is called after is nobody's business.
            assert root.branch in branches
            self.models[repo].add_root(root.id, branch, label=root.branch)

    @contextlib.contextmanager
    def refused(self, code: str) -> Iterator[None]:
        try:
            yield
        except PachydermError as error:
            assert error.code == code  # noqa: PT017
        else:
            raise AssertionError(f"not refused; expected {code}")

    @contextlib.contextmanager
    def same_refusal(self, expected: Callable[[], list[str] | None], repo: str) -> Iterator[None]:
        """The block must be refused as the model is, or not at all; branches that the model leaves without a head get an empty one."""
        try:
            headless = expected()
        except StateError as refusal:
            with self.refused(refusal.code):
                yield
            return
        yield
        self.add_roots(repo, headless or [])

    def read(self, reference: str) -> Files:
        rows = self.pfs.glob_file(reference, "**").to_pylist()
        return {row["path"]: b"".join(self.pfs.get_file(f"{reference}:{row['path']}")) for row in rows if row["type"] == "file"}


class VersionsInMemory(Versions):
    """The same on a store in memory, which a process loses when it ends."""

    store_url = "memory://"


TestVersions = Versions.TestCase
TestVersionsInMemory = VersionsInMemory.TestCase
# Of a machine an example is many steps: a fraction of the examples that the profile asks for of one call.
SETTINGS = hypothesis.settings(max_examples=max(15, hypothesis.settings().max_examples // 7), stateful_step_count=25)
TestVersions.settings = SETTINGS
TestVersionsInMemory.settings = SETTINGS
