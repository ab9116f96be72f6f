"""The version model against dictionaries: any order of starts, puts, deletes, finishes and one-off commits."""

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.workspace import open_workspace
from tests.records import new_record_url

PATHS = st.sampled_from(["/a", "/b/c", "/b/d", "/e/f/g"])
BRANCHES = st.sampled_from(["data@master", "data@other"])
Files = dict[str, bytes]


class Versions(RuleBasedStateMachine):
    """Two branches of one repo; the model keeps each branch's commits as dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.record = ExitStack()
        url = self.record.enter_context(new_record_url(self.folder))
        self.workspace = open_workspace({"PACHYDERM_HOME": str(self.folder), "PACHYDERM_METADATA_URL": url}, clock=ManualClock())
        self.pfs = self.workspace.pfs
        self.heads: dict[str, Files] = {}
        self.staged: dict[str, Files] = {}
        self.finished: dict[str, Files] = {}

    def teardown(self) -> None:
        self.workspace.close()
        self.record.close()
        shutil.rmtree(self.folder)

    @initialize()
    def create(self) -> None:
        self.pfs.create_repo("data")

    def content(self, branch: str) -> Files:
        """What a write to the branch now changes."""
        return dict(self.staged.get(branch, self.heads.get(branch, {})))

    def keep(self, branch: str, files: Files) -> None:
        if branch in self.staged:
            self.staged[branch] = files
        else:
            self.heads[branch] = files
            self.finished[f"data@{self.pfs.inspect_commit(branch).id}"] = files

    @rule(branch=BRANCHES, path=PATHS, data=st.binary(max_size=8), append=st.booleans())
    def put(self, branch: str, path: str, data: bytes, append: bool) -> None:
        files = self.content(branch)
        with self.pfs.modify_file(branch) as changes:
            changes.put_bytes(path, data, append=append)
        files[path] = files.get(path, b"") + data if append else data
        self.keep(branch, files)

    @rule(branch=BRANCHES, path=PATHS)
    def delete(self, branch: str, path: str) -> None:
        files = self.content(branch)
        with self.pfs.modify_file(branch) as changes:
            changes.delete(path)
        files.pop(path, None)
        self.keep(branch, files)

    @rule(branch=BRANCHES)
    def delete_directory(self, branch: str) -> None:
        files = self.content(branch)
        with self.pfs.modify_file(branch) as changes:
            changes.delete_directory("/b")
            changes.put_bytes("/b/new", b"new")
        self.keep(branch, {path: data for path, data in files.items() if not path.startswith("/b/")} | {"/b/new": b"new"})

    @rule(branch=BRANCHES)
    def start(self, branch: str) -> None:
        if branch in self.staged:
            try:
                self.pfs.start_commit(branch)
            except StateError as error:
                assert error.code == "commit-open"  # noqa: PT017
            else:
                raise AssertionError("a second commit was opened on a branch")
        else:
            self.pfs.start_commit(branch)
            self.staged[branch] = self.heads.get(branch, {})

    @precondition(lambda self: self.staged)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        branch = data.draw(st.sampled_from(sorted(self.staged)))
        commit = self.pfs.finish_commit(branch)
        self.heads[branch] = self.staged.pop(branch)
        self.finished[f"data@{commit.id}"] = self.heads[branch]

    @precondition(lambda self: self.staged)
    @rule(data=st.data())
    def finish_with_an_error(self, data: st.DataObject) -> None:
        branch = data.draw(st.sampled_from(sorted(self.staged)))
        commit = self.pfs.finish_commit(branch, error="on purpose")
        self.finished[f"data@{commit.id}"] = self.staged.pop(branch)

    @rule(path=PATHS)
    def abandon(self, path: str) -> None:
        try:
            with self.pfs.modify_file("data@master") as changes:
                changes.put_bytes(path, b"never seen")
                raise KeyError
        except KeyError:
            pass

    @invariant()
    def every_version_reads_as_it_was_written(self) -> None:
        for branch, files in self.staged.items():
            assert self.read(branch) == files
        for commit, files in list(self.finished.items())[-3:]:
            assert self.read(commit) == files

    def read(self, reference: str) -> Files:
        rows = self.pfs.glob_file(reference, "**").to_pylist()
        return {row["path"]: b"".join(self.pfs.get_file(f"{reference}:{row['path']}")) for row in rows if row["type"] == "file"}


TestVersions = Versions.TestCase
TestVersions.settings = hypothesis.settings(max_examples=15, stateful_step_count=15, deadline=None)
