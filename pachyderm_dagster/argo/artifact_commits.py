"""The artifacts of a run as one commit of a repo of the home: versions of them, one a run, that pipelines can take as input."""

import hashlib
import io
from collections.abc import Mapping
from contextlib import closing

from pachyderm_dagster.argo.names import name_in_repos
from pachyderm_dagster.argo.run_folder import RunFolder
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.named_commits import CommitName
from pachyderm_dagster.pfs.putting import Manner, put_sources
from pachyderm_dagster.pfs.sources import plan_sources
from pachyderm_dagster.workspace import Workspace, open_workspace

BRANCH = "master"
_ID_DIGITS = 32


def repo_of(run: RunFolder) -> str:
    """The repo of the artifacts of all runs that are called as this one is, but for what was generated."""
    return f"argo-{name_in_repos(run.subject()[0].metadata.base_name)}"


def commit_artifacts(environ: Mapping[str, str], run: RunFolder) -> None:
    """Commits what is in the store of a run, under its keys, and keeps with the run which commit that is.

    Whoever was killed calls it again: what the nodes gave decides on the id of the commit, of which there is one only.

    Raises:
        PachydermError: as `open_workspace` and `Pfs.write_once`.
    """
    with closing(open_workspace(environ)) as workspace:
        run.keep_commit(str(_commit(workspace, run)))


def _commit(workspace: Workspace, run: RunFolder) -> Commit:
    repo = repo_of(run)
    workspace.pfs.create_repo(repo, description="artifacts of workflows", update=True)
    with workspace.pfs.write_once(f"{repo}@{BRANCH}", CommitName(_id(run), f"workflow {run.name}", {"workflow": run.name})) as files:
        # A commit has the artifacts of one run, not those of the ones before it too.
        files.delete_directory("/")
        sources = plan_sources([str(run.path / "artifacts")], "/", recursive=True)
        put_sources(files, workspace.store, sources, stdin=io.BytesIO(), manner=Manner())
    assert files.commit is not None
    return files.commit


def _id(run: RunFolder) -> str:
    told = hashlib.sha256(run.subject()[0].uid.encode())
    for node in run.nodes().values():
        if node.outputs.artifacts:
            told.update(f"\0{node.id}\0{node.finished}".encode())
    return told.hexdigest()[:_ID_DIGITS]
