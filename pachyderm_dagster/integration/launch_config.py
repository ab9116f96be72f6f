"""What a user says of a pipeline's run in Dagster's launchpad."""

import dagster as dg
from pydantic import Field


class PipelineConfig(dg.Config):
    """The run configuration of a pipeline's step; it counts for runs that a user starts."""

    reprocess: bool = Field(
        default=False,
        description="Run every datum again, in a next version of the pipeline, as `pachctl rerun pipeline --reprocess` does. Otherwise those are skipped "
        "whose files did not change.",
    )
    inputs: dict[str, str] = Field(
        default={},
        description="What to read in place of the heads: a commit by `repo`, or by `repo@branch` where several branches of the repo are read, as in "
        "`images: 4b1f0c7a2d0e4d6f9a3c5e7b8d9f0a1c`; the commit is an id, or a branch such as `staging` or `master^`. It counts for every pipeline of the run "
        "that reads the branch.",
    )
