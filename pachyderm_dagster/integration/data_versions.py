"""What Dagster compares of commits, to tell what is stale: their ids, or what they hold."""

from collections.abc import Sequence

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.codec import digest
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.storage.rows import FILE_ROWS
from pachyderm_dagster.storage.tree_reading import decode_root


def version_tags(version: str) -> dict[str, str]:
    """The tags that make this the asset's data version."""
    return {labels.DATA_VERSION: version, labels.DATA_VERSION_IS_USER_PROVIDED: "true"}


def content_version(commit: Commit) -> str:
    """A data version that is the same for commits with the same files in them, written by the same datums."""
    return version_of_hashes([decode_root(FILE_ROWS, commit.tree).id.hex()])


def version_of_hashes(hashes: Sequence[str]) -> str:
    """The data version of directories with these hashes."""
    return digest("dagster-content", [one.encode() for one in hashes]).hex()[:32]
