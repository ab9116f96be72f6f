"""The assets of branches in a loaded code location: what each is called, what its metadata says, and what Dagster compares of its commits."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.column_lineage import declared_lineage
from pachyderm_dagster.integration.commit_events import is_placeholder
from pachyderm_dagster.integration.dagster_inner import is_made_by_code
from pachyderm_dagster.integration.data_versions import content_version
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.pfs.reference_texts import parse_repo

KeyOf: TypeAlias = Callable[[BranchName], dg.AssetKey]


@dataclass(frozen=True, slots=True)
class BranchAssets:
    """What those who report commits need to know of assets.

    Args:
        key_of: the asset of any branch.
        graph: Dagster's graph of the loaded assets; None where there is none, as in the reactor of `dev`, whose assets nobody changes.
        keys: the assets of the graph that are branches.
    """

    key_of: KeyOf
    graph: Any = None
    keys: Mapping[BranchName, dg.AssetKey] = field(default_factory=dict)

    @classmethod
    def loaded(cls, graph: Any, otherwise: KeyOf) -> "BranchAssets":
        """Those of a graph, by the names that its assets have there, whoever renamed them; `otherwise` names the others."""
        keys = dict(_branches_in(graph))
        return cls(lambda branch: keys[branch] if branch in keys else otherwise(branch), graph, keys)

    def metadata(self, key: dg.AssetKey) -> Mapping[str, object]:
        """What an asset says of itself; nothing of one that is not loaded."""
        found: Mapping[str, object] = self.graph.get(key).metadata if self.graph is not None and self.graph.has(key) else {}
        return found

    def version(self, key: dg.AssetKey, commit: Commit) -> str:
        """The data version that a commit is."""
        return content_version(commit) if labels.text(self.metadata(key), labels.VERSION_BY) == labels.BY_CONTENT else commit.id

    def own_code_version(self, key: dg.AssetKey) -> str | None:
        """The code version that a user gave an asset in place of that of its specification."""
        found: str | None = self.graph.get(key).code_version if self.graph is not None and self.graph.has(key) else None
        return None if found == labels.text(self.metadata(key), labels.SPEC_CODE_VERSION) else found

    def is_written_here(self, key: dg.AssetKey) -> bool:
        """Whether code of the user's makes the asset, and no pipeline: it has no version before that ran."""
        return self.graph is not None and self.graph.has(key) and is_made_by_code(self.graph.get(key)) and not labels.text(self.metadata(key), labels.PIPELINE)

    def is_version(self, key: dg.AssetKey, commit: Commit) -> bool:
        """Whether a commit that no job made is one of the asset, of which Dagster is to know."""
        return not (self.is_written_here(key) and is_placeholder(commit))

    def is_by_set(self, key: dg.AssetKey) -> bool:
        """Whether the partitions of an asset are commit sets."""
        found = self.graph.get(key).partitions_def if self.graph is not None and self.graph.has(key) else None
        return isinstance(found, dg.DynamicPartitionsDefinition) and found.name == labels.COMMIT_SETS

    def lineage(self, key: dg.AssetKey) -> Mapping[str, dg.MetadataValue]:
        """The column lineage that an asset declares, for a materialization."""
        return declared_lineage(key, self.metadata(key))


def _branches_in(graph: Any) -> Iterator[tuple[BranchName, dg.AssetKey]]:
    for node in graph.asset_nodes:
        repo, branch = labels.text(node.metadata, labels.REPO), labels.text(node.metadata, labels.BRANCH)
        if repo is not None and branch is not None:
            yield BranchName(parse_repo(repo), branch), node.key
