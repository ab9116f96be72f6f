"""What Dagster shows of an output that an IO manager keeps, beside what it shows of any commit, and of the inputs that it was made of."""

from collections.abc import Mapping, Sequence

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.io_versions import ChosenCommit
from pachyderm_dagster.integration.shown_commits import shown_commit
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.paths import ROOT
from pachyderm_dagster.workspace import Workspace


def output_metadata(workspace: Workspace, commit: Commit, folders: Sequence[str], *, partitioned: bool) -> dict[str, dg.MetadataValue]:
    """What Dagster shows of an output; read from what is stored, so that it is true for a commit that an earlier attempt made too."""
    folder = folders[0] if len(folders) == 1 else ROOT
    return {
        **shown_commit(workspace, commit, folders, partitioned=partitioned),
        labels.REPO: dg.MetadataValue.text(str(commit.repo)),
        labels.BRANCH: dg.MetadataValue.text(commit.branch or ""),
        labels.PATH: dg.MetadataValue.text(folder),
        labels.URI: dg.MetadataValue.text(f"pfs://{commit.repo.project}/{commit.repo.name}@{commit.id}{folder.rstrip('/')}"),
    }


def input_table(read: Mapping[str, ChosenCommit]) -> dg.MetadataValue:
    """The commits that a step read, by asset, and why those."""
    records = [
        dg.TableRecord({"asset": asset, "branch": choice.commit.branch or "", "commit": choice.commit.id, "because": str(choice.reason)})
        for asset, choice in sorted(read.items())
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn(name) for name in ("asset", "branch", "commit", "because")]))
