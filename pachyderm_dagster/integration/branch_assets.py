"""The assets of branches in a loaded code location: what each is called, what its metadata says, and what Dagster compares of its commits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.column_lineage import declared_lineage
from pachyderm_dagster.integration.commit_events import content_version
from pachyderm_dagster.pfs.model import BranchName, Commit

KeyOf: TypeAlias = Callable[[BranchName], dg.AssetKey]


@dataclass(frozen=True, slots=True)
class BranchAssets:
    """What those who report commits need to know of assets.

    Args:
        key_of: the asset of any branch.
        graph: Dagster's graph of the loaded assets; None where there is none, as in the reactor of `dev`, whose assets nobody changes.
    """

    key_of: KeyOf
    graph: Any = None

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

    def is_by_set(self, key: dg.AssetKey) -> bool:
        """Whether the partitions of an asset are commit sets."""
        found = self.graph.get(key).partitions_def if self.graph is not None and self.graph.has(key) else None
        return isinstance(found, dg.DynamicPartitionsDefinition) and found.name == labels.COMMIT_SETS

    def lineage(self, key: dg.AssetKey) -> Mapping[str, dg.MetadataValue]:
        """The column lineage that an asset declares, for a materialization."""
        return declared_lineage(key, self.metadata(key))
