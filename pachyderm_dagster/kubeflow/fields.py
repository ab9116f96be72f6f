"""Which fields of a pipeline Kubeflow can express: what is refused because a run would give something else, and what is said because it does nothing there."""

from collections.abc import Callable, Iterator, Mapping

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.kubeflow.functions import is_installed_function
from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.schedules import crontab_of

_PLACEHOLDER = "{{$"
_AS_FILE = "export it from a file without that field (-f)"

REFUSED: Mapping[str, tuple[Callable[[PipelineSpec], object], str]] = {
    "service": (lambda spec: spec.service, "a task of Kubeflow ends; run it here, or as a Deployment"),
    "spout": (lambda spec: spec.spout, "a task of Kubeflow ends; run it here, and export the pipelines that read its repo"),
    "pod_spec": (lambda spec: spec.pod_spec, f"a run gives pods no patches; {_AS_FILE}"),
    "pod_patch": (lambda spec: spec.pod_patch, f"a run gives pods no patches; {_AS_FILE}"),
    "scheduling_spec.priority_class_name": (
        lambda spec: spec.scheduling_spec and spec.scheduling_spec.priority_class_name,
        f"pods of a run have the priority of the cluster's default class; {_AS_FILE}",
    ),
    "transform.datum_batching": (
        lambda spec: spec.transform.datum_batching and not is_installed_function(spec),
        "nobody in the pod hands out datums; let the command run once a datum, and of a `datum_asset` name the image's interpreter (`python=`), "
        "or export it by `export assets --code-image`",
    ),
    "transform.build": (lambda spec: spec.transform.build, "nobody brings /pfs/source; put the files into the image"),
    "transform.cmd": (lambda spec: not spec.transform.cmd, "it is empty, so that nothing would run; say what to run"),
    "transform.user": (
        lambda spec: spec.transform.user and not spec.transform.user.isdecimal(),
        "a pod takes the number of a user, not a name; write the number that it has in the image",
    ),
}
WITHOUT_EFFECT: Mapping[str, tuple[Callable[[PipelineSpec], object], str]] = {
    "output_branch": (lambda spec: spec.output_branch != "master", "runs write the branch that the export names"),
    "datum_set_spec": (lambda spec: spec.datum_set_spec, "datums are dealt out to as many pods as parallelism_spec says"),
    "maximum_expected_uptime": (lambda spec: spec.maximum_expected_uptime, "nobody watches it there"),
    "salt": (lambda spec: spec.salt, "Kubeflow keeps results by task"),
    "autoscaling": (lambda spec: spec.autoscaling, "a pod is there while its task runs"),
    "sidecar_resource_requests": (lambda spec: spec.sidecar_resource_requests, "there is no container beside the code"),
    "sidecar_resource_limits": (lambda spec: spec.sidecar_resource_limits, "there is no container beside the code"),
    "resource_requests.disk": (lambda spec: spec.resource_requests and spec.resource_requests.disk, "Kubeflow gives tasks no disk of a size"),
    "resource_limits.disk": (lambda spec: spec.resource_limits and spec.resource_limits.disk, "Kubeflow gives tasks no disk of a size"),
    "lazy": (lambda spec: any(leaf.lazy for leaf in leaves(spec.input)), "the files are there before the code starts"),
    "reference": (lambda spec: any(leaf.reference for leaf in leaves(spec.input)), "Kubeflow keeps results by task, and a new commit is another task"),
    "trigger": (lambda spec: any(leaf.trigger for leaf in leaves(spec.input)), "a run starts when somebody starts it"),
    "propagation_spec": (lambda spec: any(leaf.propagation_spec for leaf in leaves(spec.input)), "a run starts when somebody starts it"),
}


def check_pipeline(spec: PipelineSpec) -> list[str]:
    """What a user should know of the fields of a pipeline that do nothing in Kubeflow, a line each.

    Raises:
        InvalidError: `export-unsupported`, for a field whose absence would change what a run does.
    """
    for field, problem in _problems(spec):
        raise InvalidError("export-unsupported", f"pipeline '{spec.pipeline.name}' has {field}, which Kubeflow Pipelines cannot express: {problem}")
    return [f"{field} of '{spec.pipeline.name}' has no effect in Kubeflow: {reason}" for field, (is_set, reason) in WITHOUT_EFFECT.items() if is_set(spec)]


def _problems(spec: PipelineSpec) -> Iterator[tuple[str, str]]:
    yield from ((field, way_out) for field, (is_set, way_out) in REFUSED.items() if is_set(spec))
    for leaf in leaves(spec.input):
        if isinstance(leaf, CronInput):
            read = f'"pfs": {{"repo": "{leaf.repo}", "glob": "/*"}}'
            yield (
                f"the cron input '{leaf.name}'",
                f"a run has no clock of its own; read the ticks of this home ({read}) with --head, and {_recurring(leaf.spec)}",
            )
    texts = [*spec.transform.cmd, *spec.transform.stdin, *spec.transform.err_cmd, *spec.transform.err_stdin, *spec.transform.env.values()]
    if any(_PLACEHOLDER in text for text in texts):
        yield f"'{_PLACEHOLDER}' in its command", "Kubeflow would put values in its place; write it otherwise"
    if spec.transform.cmd and "=" in spec.transform.cmd[0]:
        yield f"the program '{spec.transform.cmd[0]}'", "its name has a '='; give it another one"


def _recurring(schedule: str) -> str:
    """What has Kubeflow start runs by a schedule."""
    crontab = crontab_of(schedule)
    if crontab is None:
        return "start the runs, or make a recurring one of Kubeflow with an interval"
    # The first field is seconds.
    return f"make a recurring run of Kubeflow with the cron expression '0 {crontab}'"
