"""A code location whose pipelines have commit sets as partitions; the environment says where its pipeline files and its workspace are."""

import os

from pachyderm_dagster.integration import pachyderm_assets

definitions = pachyderm_assets(os.environ["TEST_PIPELINES"], partition_by="commit")
