"""Pipelines as a WorkflowTemplate of Argo: a graph with a task for each, which finds the datums, runs each in a pod of its own, and commits what they wrote.

Datums are found, given their files, and their output is committed by this package (`datum_steps`), in its own image beside the user's.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from pachyderm_dagster import __version__
from pachyderm_dagster.argo.export_rules import find_problems
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.exported.graph import Step, plan_steps
from pachyderm_dagster.pfs.made_commits import full_name
from pachyderm_dagster.pfs.model import BranchName
from pachyderm_dagster.pps.inputs import leaves
from pachyderm_dagster.pps.pods import Resources, TaintEffect
from pachyderm_dagster.pps.spec import PipelineSpec

Fields: TypeAlias = dict[str, Any]
HOME, SPEC, ITEMS, TASKS, DATUM, PARTS = "/pachyderm", "/pipeline/spec.json", "/plan/items.json", "/plan/tasks", "/pipeline/datum.json", "/parts"
MADE_FROM, COMMIT = "/plan/made-from", "/pipeline/commit"
DEFAULT_IMAGE, DEFAULT_BRANCH, DEFAULT_SECRET = f"pachyderm-dagster-server:{__version__}", "argo", "pachyderm-dagster-home"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How pipelines are exported.

    Attributes:
        name: of the WorkflowTemplate; that of the last pipeline when empty.
        commits: of branches that are read from outside the id of the commit that a workflow reads unless told otherwise; the head of the others.
        image: with this package, for the steps that read and write commits.
        branch: of every output repo the branch that workflows write.
        secret: the Secret whose keys are the variables with which those steps open the home; none when empty.
        claim: the volume claim that holds the home itself; none when empty.
    """

    name: str = ""
    commits: Mapping[BranchName, str] = field(default_factory=dict)
    image: str = DEFAULT_IMAGE
    branch: str = DEFAULT_BRANCH
    secret: str = DEFAULT_SECRET
    claim: str = ""


def export_pipelines(specs: Sequence[PipelineSpec], options: ExportOptions, *, project: str) -> Fields:
    """The WorkflowTemplate of pipelines; those of them that read another's output run after it. `project` is that of names without one.

    Raises:
        InvalidError: `export-invalid`; `export-unsupported`, with all that cannot be expressed.
    """
    steps = plan_steps(specs, project)
    problems = [f"pipeline '{step.name}': {problem}" for step in steps for problem in find_problems(step.spec)]
    if problems:
        raise InvalidError("export-unsupported", f"what a workflow of Argo cannot express: {'; '.join(problems)}")
    return _Exporting(steps, options).template()


def as_yaml(document: Fields) -> str:
    """The text of a document, the same for the same document; texts of several lines as blocks."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=160, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """With lists that are indented as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT002  as in PyYAML
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


class _Exporting:
    def __init__(self, steps: Sequence[Step], options: ExportOptions) -> None:
        self._steps, self._options = steps, options

    def template(self) -> Fields:
        outside = {parameter: branch for step in self._steps for branch, parameter in step.read_outside.items()}
        parameters = [
            {
                "name": parameter,
                "value": self._options.commits.get(branch, ""),
                "description": f"The id of the commit of {full_name(branch)} that is read; that of its head when empty.",
            }
            for parameter, branch in outside.items()
        ]
        claim = [{"name": "home", "persistentVolumeClaim": {"claimName": self._options.claim}}] if self._options.claim else []
        pull = dict.fromkeys(name for step in self._steps for name in step.spec.transform.image_pull_secrets)
        spec = {
            "entrypoint": "pipelines",
            "arguments": {"parameters": parameters},
            "volumes": claim,
            "imagePullSecrets": [{"name": name} for name in pull],
            "templates": [
                {"name": "pipelines", "dag": {"tasks": [self._task(step) for step in self._steps]}},
                *(template for step in self._steps for template in self._templates(step)),
            ],
        }
        name = self._options.name or self._steps[-1].word
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "WorkflowTemplate",
            "metadata": {"name": name},
            "spec": {key: value for key, value in spec.items() if value not in ([], {"parameters": []})},
        }

    def _task(self, step: Step) -> Fields:
        depends = " && ".join(dict.fromkeys(step.made_by.values()))
        given = [{"name": parameter, "value": _commit_of(step, branch, parameter)} for branch, parameter in step.reads.items()]
        return {"name": step.word, "template": step.word, **({"depends": depends} if depends else {}), "arguments": {"parameters": given}}

    # --- the templates of a pipeline

    def _templates(self, step: Step) -> Iterable[Fields]:
        yield self._flow(step)
        yield self._plan(step)
        yield self._datum(step)
        yield self._commit(step)

    def _flow(self, step: Step) -> Fields:
        datum: Fields = {
            "name": "datum",
            "template": f"{step.word}-datum",
            "withParam": _tag("steps.plan.outputs.parameters.items"),
            "arguments": {
                "parameters": _handed_on("item.", ["index", *_variables(step.spec)]),
                "artifacts": [{"name": "datum", "from": _tag("steps.plan.outputs.artifacts.tasks"), "subPath": f"{_tag('item.index')}.json"}],
            },
        }
        ended = [{"name": "made-from", "value": _tag("steps.plan.outputs.parameters.made-from")}]
        return {
            "name": step.word,
            "inputs": {"parameters": [{"name": parameter} for parameter in step.reads.values()]},
            "outputs": {"parameters": [{"name": "commit", "valueFrom": {"parameter": _tag("steps.commit.outputs.parameters.commit")}}]},
            "parallelism": step.spec.parallelism_spec.constant,
            "steps": [
                [{"name": "plan", "template": f"{step.word}-plan", "arguments": {"parameters": _handed_on("inputs.parameters.", list(step.reads.values()))}}],
                [datum],
                [{"name": "commit", "template": f"{step.word}-commit", "arguments": {"parameters": ended}}],
            ],
        }

    def _plan(self, step: Step) -> Fields:
        read = [word for branch, name in step.reads.items() for word in ("--commit", full_name(branch), _tag(f"inputs.parameters.{name}"))]
        return {
            "name": f"{step.word}-plan",
            "inputs": {
                "parameters": [{"name": parameter} for parameter in step.reads.values()],
                "artifacts": [{"name": "spec", "path": SPEC, "raw": {"data": _spec_text(step)}}],
            },
            "outputs": {
                "parameters": [{"name": "items", "valueFrom": {"path": ITEMS}}, {"name": "made-from", "valueFrom": {"path": MADE_FROM}}],
                # A folder of plain files, so that each datum can be handed on by its name.
                "artifacts": [{"name": "tasks", "path": TASKS, "archive": {"none": {}}, "optional": True}],
            },
            "container": self._own("plan", SPEC, *read, "--items", ITEMS, "--tasks", TASKS, "--made-from", MADE_FROM),
        }

    def _datum(self, step: Step) -> Fields:
        spec = step.spec
        variables = _variables(spec)
        volumes, mounts = _secret_volumes(spec)
        pfs: Fields = {"name": "pfs", "mountPath": "/pfs"}
        stage = self._own("stage", DATUM, "/pfs")
        stage = {"name": "stage", **stage, "volumeMounts": [*stage.get("volumeMounts", []), pfs], "mirrorVolumeMounts": True}
        # By a key of its own: the output of all datums is one folder for the step that commits it.
        key = f"{_tag('workflow.name')}/{step.word}/{_tag('inputs.parameters.index')}.{_tag('inputs.parameters.PACH_DATUM_ID')}.tgz"
        return {
            "name": f"{step.word}-datum",
            **_pod_fields(spec),
            "inputs": {"parameters": [{"name": name} for name in ("index", *variables)], "artifacts": [{"name": "datum", "path": DATUM}]},
            "outputs": {"artifacts": [{"name": "out", "path": "/pfs/out", "s3": {"key": key}}]},
            "volumes": [{"name": "pfs", "emptyDir": {"medium": "Memory"} if spec.transform.memory_volume else {}}, *volumes],
            **({"retryStrategy": {"limit": spec.datum_tries - 1}} if spec.datum_tries > 1 else {}),
            **({"activeDeadlineSeconds": max(1, round(spec.datum_timeout))} if spec.datum_timeout is not None else {}),
            "initContainers": [stage],
            **_user_code(spec, [pfs, *mounts], _environment(step, variables)),
        }

    def _commit(self, step: Step) -> Fields:
        output = full_name(BranchName(step.name, self._options.branch))
        return {
            "name": f"{step.word}-commit",
            "inputs": {
                "parameters": [{"name": "made-from"}],
                "artifacts": [{"name": "parts", "path": PARTS, "optional": True, "s3": {"key": f"{_tag('workflow.name')}/{step.word}"}}],
            },
            "outputs": {"parameters": [{"name": "commit", "valueFrom": {"path": COMMIT}}]},
            "container": self._own("commit", output, PARTS, "--made-from", _tag("inputs.parameters.made-from"), "--id-to", COMMIT),
        }

    def _own(self, *words: str) -> Fields:
        """A container of this package, with the home."""
        options = self._options
        home: Fields = {}
        if options.claim:
            home = {"env": [{"name": "PACHYDERM_HOME", "value": HOME}], "volumeMounts": [{"name": "home", "mountPath": HOME}]}
        if options.secret:
            home["envFrom"] = [{"secretRef": {"name": options.secret}}]
        return {"image": options.image, "command": ["pachyderm-dagster", "argo"], "args": list(words), **home}


def _commit_of(step: Step, branch: BranchName, parameter: str) -> str:
    made_by = step.made_by.get(branch)
    return _tag(f"workflow.parameters.{parameter}" if made_by is None else f"tasks.{made_by}.outputs.parameters.commit")


def _environment(step: Step, variables: Sequence[str]) -> list[Fields]:
    transform = step.spec.transform
    fixed = {**transform.env, "PACH_IN_WORKER": "true", "PPS_PIPELINE_NAME": step.name.name, "PPS_PROJECT_NAME": step.name.project, "PFS_ROOT": "/pfs"}
    found: list[Fields] = [{"name": name, "value": value} for name, value in fixed.items()]
    found += [{"name": name, "value": _tag(f"inputs.parameters.{name}")} for name in variables]
    secrets = [secret for secret in transform.secrets if secret.env_var]
    return [*found, *({"name": one.env_var, "valueFrom": {"secretKeyRef": {"name": one.name, "key": one.key}}} for one in secrets)]


def _user_code(spec: PipelineSpec, mounts: Sequence[Fields], env: Sequence[Fields]) -> Fields:
    transform = spec.transform
    container: Fields = {"image": transform.image, "command": list(transform.cmd)}
    if transform.working_dir:
        container["workingDir"] = transform.working_dir
    container |= {"env": list(env), "volumeMounts": list(mounts)}
    resources = {name: found for name, given in (("requests", spec.resource_requests), ("limits", spec.resource_limits)) if (found := _resources(given))}
    if resources:
        container["resources"] = resources
    if transform.stdin:
        return {"script": {**container, "source": "\n".join(transform.stdin) + "\n"}}
    return {"container": container}


def _pod_fields(spec: PipelineSpec) -> Fields:
    found: Fields = {}
    metadata = spec.metadata
    if metadata is not None and (metadata.labels or metadata.annotations):
        found["metadata"] = {name: dict(values) for name, values in (("labels", metadata.labels), ("annotations", metadata.annotations)) if values}
    if spec.scheduling_spec is not None:
        if spec.scheduling_spec.node_selector:
            found["nodeSelector"] = dict(spec.scheduling_spec.node_selector)
        if spec.scheduling_spec.priority_class_name:
            found["priorityClassName"] = spec.scheduling_spec.priority_class_name
    if spec.tolerations:
        found["tolerations"] = [
            {
                "operator": one.operator.value.capitalize(),
                **({"key": one.key} if one.key else {}),
                **({"value": one.value} if one.value else {}),
                **({"effect": _EFFECTS[one.effect]} if one.effect in _EFFECTS else {}),
                **({"tolerationSeconds": one.toleration_seconds} if one.toleration_seconds is not None else {}),
            }
            for one in spec.tolerations
        ]
    if spec.transform.user:
        found["securityContext"] = {"runAsUser": int(spec.transform.user)}
    return found


_EFFECTS: Mapping[TaintEffect, str] = {
    TaintEffect.NO_SCHEDULE: "NoSchedule",
    TaintEffect.PREFER_NO_SCHEDULE: "PreferNoSchedule",
    TaintEffect.NO_EXECUTE: "NoExecute",
}


def _resources(given: Resources | None) -> Fields:
    if given is None:
        return {}
    found: Fields = {"cpu": f"{given.cpu:g}" if given.cpu else "", "memory": given.memory, "ephemeral-storage": given.disk}
    if given.gpu is not None and given.gpu.number:
        found[given.gpu.type] = str(given.gpu.number)
    return {name: value for name, value in found.items() if value}


def _secret_volumes(spec: PipelineSpec) -> tuple[list[Fields], list[Fields]]:
    mounted = [secret for secret in spec.transform.secrets if secret.mount_path]
    volumes = [{"name": f"secret-{index}", "secret": {"secretName": secret.name}} for index, secret in enumerate(mounted)]
    mounts = [{"name": f"secret-{index}", "mountPath": secret.mount_path} for index, secret in enumerate(mounted)]
    return volumes, mounts


def _variables(spec: PipelineSpec) -> list[str]:
    """The variables that each datum has values of its own for."""
    found = ["PACH_DATUM_ID"]
    for leaf in leaves(spec.input):
        found += [leaf.name, f"{leaf.name}_COMMIT"]
        found += [f"PACH_DATUM_{leaf.name}_JOIN_ON"] if leaf.join_on else []
        found += [f"PACH_DATUM_{leaf.name}_GROUP_BY"] if leaf.group_by else []
    return list(dict.fromkeys(found))


def _handed_on(prefix: str, names: Sequence[str]) -> list[Fields]:
    return [{"name": name, "value": _tag(f"{prefix}{name}")} for name in names]


def _tag(name: str) -> str:
    return f"{{{{{name}}}}}"


def _spec_text(step: Step) -> str:
    document = json.loads(step.spec.to_json())
    document["pipeline"] = {"name": step.name.name, "project": {"name": step.name.project}}
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
