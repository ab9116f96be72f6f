"""A user's own Dagster project as its processes load it; the environment says where its pipeline file and its workspace are, and what is special."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from pachyderm_dagster.integration import PachydermTranslator, commit_automation, pachyderm_assets, pipeline_asset, repo_asset

FILE = os.environ["TEST_PIPELINES"]


def _execute(context: Any, step: Any, workspace: Any, executor: Any) -> Iterator[Any]:
    context.log.info("what a user adds to a step")
    yield from step.run(context, workspace, executor)


class _Mine(PachydermTranslator):
    def get_asset_spec(self, props: Any) -> dg.AssetSpec:
        spec = super().get_asset_spec(props)
        return spec.replace_attributes(key=spec.key.with_prefix("mine"))


match os.environ.get("TEST_PROJECT", ""):
    case "partitioned":
        definitions = pachyderm_assets(FILE, partition_by="commit")
    case "customized":
        edges = pipeline_asset(Path(FILE).read_text().partition("---")[0], execute=_execute)
        definitions = dg.Definitions.merge(dg.Definitions(assets=[repo_asset("images"), edges]), commit_automation([edges]))
    case _:
        definitions = pachyderm_assets(FILE, translator=_Mine())
