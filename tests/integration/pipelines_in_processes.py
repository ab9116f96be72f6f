"""Two independent pipelines and one behind them, declared in Python, for runs whose steps are processes."""

import os
from typing import Any

import dagster as dg

from pachyderm_dagster.integration import pipeline_asset


def _copy(name: str, *repos: str) -> dict[str, Any]:
    leaves = [{"pfs": {"repo": repo, "glob": "/*"}} for repo in repos]
    read = leaves[0] if len(leaves) == 1 else {"union": leaves}
    code = "cp /pfs/*/* /pfs/out/" if len(leaves) == 1 else "for f in /pfs/*/*; do cp $f /pfs/out/; done"
    return {"pipeline": {"name": name}, "transform": {"cmd": ["sh"], "stdin": [code]}, "input": read}


definitions = dg.Definitions(
    assets=[pipeline_asset(_copy("edges", "images")), pipeline_asset(_copy("words", "labels")), pipeline_asset(_copy("montage", "edges", "labels"))],
    jobs=[dg.define_asset_job("all")],
    executor=dg.multiprocess_executor,
)


def whole_job() -> dg.JobDefinition:
    """The job of all of them, which a process can find again."""
    assert "PACHYDERM_HOME" in os.environ
    return definitions.resolve_job_def("all")
