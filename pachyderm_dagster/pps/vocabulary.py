"""What specs written for Pachyderm may say beyond our fields: old names, names without effect here, names that are refused and what to do instead."""

from collections.abc import Mapping
from typing import Any

from pachyderm_dagster.pps.egress import Egress
from pachyderm_dagster.pps.inputs import CronInput, PfsInput
from pachyderm_dagster.pps.pods import Resources
from pachyderm_dagster.pps.services import Spout
from pachyderm_dagster.pps.spec import Build, ParallelismSpec, PipelineSpec, Reprocess, Transform
from pachyderm_dagster.pps.strict import OtherNames

_REQUEST = "say it on the command line: `pachctl update pipeline -f FILE`, with `--reprocess` to run all datums again"

REFUSED_INPUTS: Mapping[str, str] = {
    "git": "Pachyderm removed it in 2.0; let a job of your repository's host `pachctl put file` the checkout into a repo, and read that repo",
}


def _reprocess(no_skip: Any) -> Any:
    return {True: Reprocess.EVERY_JOB, False: Reprocess.UNTIL_SUCCESS}.get(no_skip, no_skip) if isinstance(no_skip, bool) else no_skip


def _object_storage(url: Any) -> Any:
    return {"url": url} if url else None


def _gpu(gpu: Any) -> Any:
    return {"number": gpu} if isinstance(gpu, int) and not isinstance(gpu, bool) else gpu


OTHER_NAMES: Mapping[type, OtherNames] = {
    PipelineSpec: OtherNames(
        renamed={"chunk_spec": ("datum_set_spec", None), "standby": ("autoscaling", None), "no_skip": ("reprocess_spec", _reprocess)},
        without_effect={
            "cache_size": "nothing is cached beside the workers",
            "enable_stats": "what each datum did is always kept",
            "max_queue_size": "a worker stages one datum ahead",
            "hashtree_spec": "outputs are not merged in shards",
            "scale_down_threshold": "workers go when their job ends",
            "batch": "Pachyderm never acted on it",
        },
        refused={
            "s3_out": "it comes with the S3 gateway; until then let the code write its output to /pfs/out",
            "determined": "remove it and let `transform.cmd` start the experiment",
            "tf_job": "Pachyderm never ran it; let `transform.cmd` start the training",
            "spec_commit": "give the older spec itself, as `pachctl inspect pipeline` shows it",
            "update": _REQUEST,
            "reprocess": _REQUEST,
            "dry_run": "remove it",
            "inputs": 'it is of Pachyderm 1.3; write "input": {"pfs": {"repo": …, "glob": …}}, and several as {"cross": [{"pfs": …}, {"pfs": …}]}',
            "incremental": "Pachyderm removed it in 2.0; choose a glob under which each file that changes is a datum of its own",
        },
    ),
    Transform: OtherNames(
        without_effect={
            "debug": "the output of the code is always kept, as `pachctl logs` shows it",
            "dockerfile": "images are not built here; name a built one in `transform.image`",
        },
    ),
    Build: OtherNames(without_effect={"image": "nothing is built in an image; the files of the folder are what runs"}),
    Spout: OtherNames(
        refused={
            "overwrite": "Pachyderm removed it in 2.0; let the code call `pachctl put file PIPELINE@master:/PATH -f FILE`, with `-a` to append",
            "marker": "Pachyderm removed it in 2.0; let the code keep its place in a file of its output repo, or of another one",
        }
    ),
    Egress: OtherNames(renamed={"URL": ("object_storage", _object_storage)}),
    ParallelismSpec: OtherNames(
        refused={
            "coefficient": "Pachyderm removed it in 2.0; write the number of workers as `constant`",
            "strategy": "it is of Pachyderm 1.2; write the number of workers as `constant`",
        }
    ),
    Resources: OtherNames(renamed={"gpu": ("gpu", _gpu)}),
    PfsInput: OtherNames(
        refused={
            "repo_type": "only user repos are inputs; put what `pachctl inspect pipeline` or `list datum` says into one with `pachctl put file`, and read that",
            "commit": "make a branch whose head is that commit, with `pachctl create branch REPO@NAME --head REPO@COMMIT`, and read the branch",
            "from": "Pachyderm removed it in 1.7; a new pipeline starts with the head of the branch",
            "from_commit": "Pachyderm removed it in 1.7; a new pipeline starts with the head of the branch",
            "s3": "it comes with the S3 gateway; until then remove it and let the code read its input below /pfs",
        },
        harmless={"repo_type": ("user",)},
    ),
    CronInput: OtherNames(
        refused={
            "project": "remove it; the tick repo is in the pipeline's project",
            "commit": "remove it; ticks are read from the branch master",
        }
    ),
}
