"""The transport `volume`: the same three tasks for each pipeline, which share a volume in place of artifacts; one task makes it for the run, one removes it.

Our first task lays datums on the volume, and a shell without libraries, so that user code runs in any image: with a shell or without, as any user.
"""

import re
from collections.abc import Sequence

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.exported.graph import Step
from pachyderm_dagster.kubeflow import ir
from pachyderm_dagster.kubeflow.ir import Document
from pachyderm_dagster.kubeflow.options import Options
from pachyderm_dagster.kubeflow.pods import committing_pod, home_pod, mounted_claim, resources, user_pod
from pachyderm_dagster.kubeflow.script import datum_script
from pachyderm_dagster.kubeflow.tasks import (
    ITEM,
    PROGRAM,
    Parts,
    commit_task,
    commit_words,
    is_shared,
    run_task,
    shares_task,
    stage_task,
    stage_words,
    user_variables,
)
from pachyderm_dagster.kubeflow.volume_folders import SHELL, VOLUME, VolumeFolders

MAKE, REMOVE = "make-volume", "remove-volume"
_CLAIM = "claim"
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(k|Ki|[MGTPE]i?)?")
# The names by which Kubeflow's backend knows what to do; there are no such images.
_MAKING_IMAGE, _REMOVING_IMAGE = "argostub/createpvc", "argostub/deletepvc"


def parts_of(step: Step, options: Options) -> Parts:
    """A pipeline."""
    claim = ir.from_task(MAKE, "name")
    on_volume = {**mounted_claim(claim, VOLUME), "securityContext": {"runAsUser": "0"}}
    stage, commit = home_pod(options.home_secret) | on_volume, committing_pod(step.spec, options.home_secret) | on_volume
    theirs = user_pod(step.spec, brings_shell=True) | mounted_claim(ir.from_pipeline(_CLAIM) if is_shared(step.spec) else claim, VOLUME)
    pods = {f"exec-stage-{step.word}": stage, f"exec-run-{step.word}": theirs, f"exec-commit-{step.word}": commit}
    return Parts(_tasks(step, options), _components(step, options), _executors(step, options), pods)


def around(steps: Sequence[Step], options: Options) -> Parts:
    """What makes the volume before all, and removes it when every commit is made. After a run that failed it stays, for people to look at.

    Raises:
        InvalidError: `export-invalid`.
    """
    volume = options.volume
    if not _QUANTITY.fullmatch(volume.size):
        raise InvalidError("export-invalid", f"{volume.size!r} is no size of a volume; write it as Kubernetes does, such as 10Gi")
    made = {
        "access_modes": ir.constant([volume.access_mode.value]),
        "pvc_name_suffix": ir.constant("-pfs"),
        "size": ir.constant(volume.size),
        "storage_class_name": ir.constant(volume.storage_class),
    }
    inputs = {"access_modes": ir.parameter("LIST"), **{name: ir.parameter() for name in made if name != "access_modes"}}
    commits = [f"commit-{step.word}" for step in steps]
    return Parts(
        tasks={
            MAKE: ir.task(MAKE, f"comp-{MAKE}", parameters=made, cached=False),
            REMOVE: ir.task(REMOVE, f"comp-{REMOVE}", parameters={"pvc_name": ir.from_task(MAKE, "name")}, after=[MAKE, *commits], cached=False),
        },
        components={
            f"comp-{MAKE}": ir.component(f"exec-{MAKE}", ir.definitions(inputs, {}), ir.definitions({"name": ir.parameter()}, {})),
            f"comp-{REMOVE}": ir.component(f"exec-{REMOVE}", ir.definitions({"pvc_name": ir.parameter()}, {}), {}),
        },
        executors={f"exec-{MAKE}": {"container": {"image": _MAKING_IMAGE}}, f"exec-{REMOVE}": {"container": {"image": _REMOVING_IMAGE}}},
    )


def _tasks(step: Step, options: Options) -> dict[str, Document]:
    """Nothing of it comes from the cache, which does not see what lies on a volume."""
    stage, run, commit = (f"{word}-{step.word}" for word in ("stage", "run", "commit"))
    after = [MAKE, stage]
    claim = ir.definitions({_CLAIM: ir.from_task(MAKE, "name")}, {})
    return {
        stage: stage_task(step, options, cached=False, after=[MAKE]),
        run: shares_task(step, options, inputs=claim, after=after) if is_shared(step.spec) else run_task(step, options, cached=False, after=after),
        commit: commit_task(step, options, after=[MAKE]),
    }


def _components(step: Step, options: Options) -> dict[str, Document]:
    stage, run, commit = (f"{word}-{step.word}" for word in ("stage", "run", "commit"))
    made = {"datums": ir.parameter("NUMBER_INTEGER"), "made_from": ir.parameter()}
    given = ir.definitions({parameter: ir.parameter() for parameter in step.reads.values()}, {})
    found = {
        f"comp-{stage}": ir.component(f"exec-{stage}", given, ir.definitions(made, {})),
        f"comp-{run}": ir.component(f"exec-{run}", ir.definitions({"share": ir.parameter()} if is_shared(step.spec) else {}, {}), {}),
        f"comp-{commit}": ir.component(f"exec-{commit}", ir.definitions(made, {}), ir.definitions({"commit": ir.parameter()}, {})),
    }
    if is_shared(step.spec):
        found[f"comp-{run}-shares"] = {
            "dag": {"tasks": {run: run_task(step, options, cached=False, parameters={"share": ir.from_pipeline(ITEM)})}},
            "inputDefinitions": ir.definitions({ITEM: ir.parameter(), _CLAIM: ir.parameter()}, {}),
        }
    return found


def _executors(step: Step, options: Options) -> dict[str, Document]:
    stage, run, commit = (f"exec-{word}-{step.word}" for word in ("stage", "run", "commit"))
    spec, folders = step.spec, VolumeFolders.of(step.word)
    share = ir.input_parameter("share") if is_shared(spec) else "0"
    ours = ["--volume", VOLUME, "--word", step.word]
    return {
        stage: ir.container(options.image, [PROGRAM, "kubeflow", "stage"], [*stage_words(step, options), *ours, "--executor-input", ir.EXECUTOR_INPUT]),
        run: ir.container(
            spec.transform.image,
            [SHELL, "sh", "-c", datum_script(spec, on_volume=True), spec.pipeline.name],
            # Of artifacts, which the script tells Kubeflow of elsewhere, there are none.
            [str(folders.data), str(folders.out), "", "", share, *spec.transform.cmd],
            env=user_variables(step),
            resources=resources(spec),
        ),
        commit: ir.container(options.image, [PROGRAM, "kubeflow", "commit"], [*commit_words(step, options), *ours]),
    }
