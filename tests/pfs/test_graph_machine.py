"""The version model with branches that are made from each other, against dictionaries, on a store in memory.

Provenance, propagation, transactions, removal of commits and of sets, forgetting, clearing, file sets, metadata and projects, in any order. What is refused
changes nothing, and fsck finds nothing at the end.
"""

import contextlib
import copy
import datetime as dt
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import BranchName, Commit, RepoName
from pachyderm_dagster.pfs.requests import CreateProject, StartCommit
from pachyderm_dagster.workspace import open_workspace
from tests.pfs.graph_model import Branch, Files, Graph, Id, Refused
from tests.pfs.whole import check_whole
from tests.records import new_record_url

REPOS = ("A", "B", "C", "lab/D")
BRANCHES: list[Branch] = [(repo, name) for repo in REPOS for name in ("x", "y")]
BRANCH = st.sampled_from(BRANCHES)
PATH = st.sampled_from(["/a", "/b/c", "/b/d"])


def named(branch: Branch | Id) -> str:
    return f"{branch[0]}@{branch[1]}"


def branch_name(branch: Branch) -> BranchName:
    project, _, repo = branch[0].rpartition("/")
    return BranchName(RepoName(project or "default", repo), branch[1])


class ProvenanceGraph(RuleBasedStateMachine):
    """Four repos in two projects, and the model of all."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = contextlib.ExitStack()
        folder = Path(tempfile.mkdtemp())
        self.opened.callback(shutil.rmtree, folder)
        url = self.opened.enter_context(new_record_url(folder))
        environ = {"PACHYDERM_HOME": str(folder), "PACHYDERM_METADATA_URL": url, "PACHYDERM_STORAGE_URL": "memory://"}
        self.clock = ManualClock()
        self.workspace = open_workspace(environ, clock=self.clock)
        self.opened.callback(self.workspace.close)
        self.pfs = self.workspace.pfs
        self.graph = Graph()
        self.notes: dict[str, dict[str, str]] = {}

    def teardown(self) -> None:
        with self.opened:
            check_whole(self.workspace)

    @initialize()
    def create(self) -> None:
        self.workspace.pps.apply_all([CreateProject("lab")])
        for repo in REPOS:
            self.pfs.create_repo(repo)

    # Content

    @rule(branch=BRANCH, path=PATH, data=st.binary(max_size=8))
    def put(self, branch: Branch, path: str, data: bytes) -> None:
        def put() -> None:
            with self.pfs.modify_file(named(branch)) as changes:
                changes.put_bytes(path, data)

        self.both(put, lambda graph, set_id: graph.write(set_id, branch, {path: data}))

    @rule(branch=BRANCH, path=PATH, data=st.binary(max_size=8))
    def add_file_set(self, branch: Branch, path: str, data: bytes) -> None:
        with self.pfs.create_file_set() as files:
            files.put_bytes(path, data)
        self.both(lambda: self.pfs.add_file_set(named(branch), files.id), lambda graph, set_id: graph.write(set_id, branch, {path: data}))

    # Commits

    @rule(branches=st.lists(BRANCH, min_size=1, max_size=3, unique=True))
    def start(self, branches: list[Branch]) -> None:
        requests = [StartCommit(branch_name(branch)) for branch in branches]
        self.both(lambda: self.workspace.pps.apply_all(requests), lambda graph, set_id: graph.start(set_id, branches))

    @precondition(lambda self: self.graph.versions)
    @rule(data=st.data(), failed=st.booleans())
    def finish(self, data: st.DataObject, failed: bool) -> None:
        # Most of the time one that can be.
        unfinished = [id for id, version in self.graph.versions.items() if version.is_open]
        id = data.draw(st.sampled_from(unfinished or sorted(self.graph.versions)))
        error = "on purpose" if failed else None
        self.both(lambda: self.pfs.finish_commit(named(id), error=error), lambda graph, _: graph.finish(id, failed=failed))

    @precondition(lambda self: self.graph.versions)
    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        id = self.choose(data)
        self.both(lambda: self.pfs.clear_commit(named(id)), lambda graph, _: graph.clear(id))

    @precondition(lambda self: self.graph.versions)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        id = self.choose(data)
        self.both(lambda: self.pfs.forget_commit(named(id)), lambda graph, _: graph.forget(id))

    @precondition(lambda self: self.graph.versions)
    @rule(data=st.data(), squash=st.booleans(), recursive=st.booleans())
    def remove_commit(self, data: st.DataObject, squash: bool, recursive: bool) -> None:
        id = self.choose(data)
        remove = self.pfs.squash_commit if squash else self.pfs.drop_commit
        self.both(lambda: remove(named(id), recursive=recursive), lambda graph, set_id: graph.remove(set_id, {id}, squash=squash, recursive=recursive))

    @precondition(lambda self: self.graph.versions)
    @rule(data=st.data(), squash=st.booleans())
    def remove_set(self, data: st.DataObject, squash: bool) -> None:
        _, doomed = self.choose(data)
        members = {id for id in self.graph.versions if id[1] == doomed}
        remove = self.pfs.squash_commit_set if squash else self.pfs.drop_commit_set
        self.both(lambda: remove(doomed), lambda graph, set_id: graph.remove(set_id, members, squash=squash, recursive=False))

    # Branches

    @rule(data=st.data(), branch=BRANCH, sources=st.dictionaries(BRANCH, st.booleans(), max_size=2), moves=st.booleans())
    def create_branch(self, data: st.DataObject, branch: Branch, sources: dict[Branch, bool], moves: bool) -> None:
        made = [id for id in self.graph.versions if id[0] == branch[0]]
        head = data.draw(st.sampled_from(made)) if moves and made else None
        self.make(branch, sources, head)

    @precondition(lambda self: any(self.graph.sources.values()))
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        """A head of a branch that is made from others, which it goes on to be."""
        branch = data.draw(st.sampled_from([branch for branch, sources in self.graph.sources.items() if sources]))
        made = [id for id in self.graph.versions if id[0] == branch[0]]
        if made:
            self.make(branch, self.graph.sources[branch], data.draw(st.sampled_from(made)))

    @precondition(lambda self: self.graph.heads)
    @rule(data=st.data(), force=st.booleans())
    def delete_branch(self, data: st.DataObject, force: bool) -> None:
        branch = data.draw(st.sampled_from(sorted(self.graph.heads)))
        self.both(lambda: self.pfs.delete_branch(named(branch), force=force), lambda graph, _: graph.delete_branch(branch, force=force))
        if branch not in self.graph.heads:
            self.notes.pop(named(branch), None)

    @precondition(lambda self: self.graph.heads)
    @rule(data=st.data(), value=st.text("ab", max_size=3))
    def note(self, data: st.DataObject, value: str) -> None:
        branch = named(data.draw(st.sampled_from(sorted(self.graph.heads))))
        self.pfs.edit_metadata(("branch", branch, "replace", json.dumps({"note": value})))
        self.notes[branch] = {"note": value}

    @rule(grace=st.sampled_from([dt.timedelta(0), dt.timedelta(days=1)]))
    def collect(self, grace: dt.timedelta) -> None:
        self.clock.advance(dt.timedelta(days=2))
        self.workspace.collect_garbage(grace=grace)

    # What must hold

    @invariant()
    def everything_is_as_in_the_model(self) -> None:
        with self.pfs.database.read() as txn:
            listed = {self.id_of(commit): commit for commit in commits.list_commit(txn)}
            reads = {id: commits.read_through(txn, commit.key) for id, commit in listed.items()}
        versions = self.graph.versions
        assert listed.keys() == versions.keys()
        for id, version in versions.items():
            found = listed[id]
            assert (found.parent, found.branch) == (version.parent and version.parent[1], version.label)
            assert (found.finished is None, found.error is not None, found.forgotten) == (version.is_open, version.failed, version.forgotten)
            assert set(reads[id]) == {branch_name(source) for source in version.reads}
            assert set(found.direct_provenance) == {named(read) for read in version.reads.values()}
        for branch, head in self.graph.heads.items():
            shown = self.pfs.inspect_branch(named(branch))
            assert (shown.head, shown.metadata) == (head and head[1], self.notes.get(named(branch), {}))
            assert dict.fromkeys(shown.direct_provenance, False) | dict.fromkeys(shown.never, True) == {
                branch_name(source): never for source, never in self.graph.sources.get(branch, {}).items()
            }

    @invariant()
    def heads_read_as_they_were_written(self) -> None:
        for head in {head for head in self.graph.heads.values() if head is not None}:
            assert self.read(named(head)) == self.graph.versions[head].files

    # Help

    def make(self, branch: Branch, sources: dict[Branch, bool], head: Id | None) -> None:
        never = [named(source) for source, unfollowed in sources.items() if unfollowed]
        self.both(
            lambda: self.pfs.create_branch(named(branch), provenance=[named(source) for source in sources], never=never, head=head and head[1]),
            lambda graph, set_id: graph.create_branch(set_id, branch, sources, head),
        )

    def both(self, act: Callable[[], object], expect: Callable[[Graph, str], None]) -> None:
        """Does the same to both; what one refuses the other has to, for the same reason."""
        try:
            act()
            code = None
        except PachydermError as error:
            code = error.code
        with self.pfs.database.read() as txn:
            (set_id,) = {commit.id for commit in commits.list_commit(txn) if self.id_of(commit) not in self.graph.versions} or {"nothing new"}
        graph = copy.deepcopy(self.graph)
        expected = None
        try:
            expect(graph, set_id)
        except Refused as refused:
            graph, expected = self.graph, refused.code
        assert code == expected
        self.graph = graph

    def choose(self, data: st.DataObject) -> Id:
        return data.draw(st.sampled_from(sorted(self.graph.versions)))

    @staticmethod
    def id_of(commit: Commit) -> Id:
        return str(commit.repo), commit.id

    def read(self, reference: str) -> Files:
        rows = self.pfs.glob_file(reference, "**").to_pylist()
        return {row["path"]: b"".join(self.pfs.get_file(f"{reference}:{row['path']}")) for row in rows if row["type"] == "file"}


TestProvenanceGraph = ProvenanceGraph.TestCase
TestProvenanceGraph.settings = hypothesis.settings(max_examples=max(10, hypothesis.settings().max_examples // 5), stateful_step_count=30)
