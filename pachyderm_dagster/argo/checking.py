"""What is wrong with the objects of a file, before anything runs: told with path and line."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pachyderm_dagster.argo.checking_tags import check_tags
from pachyderm_dagster.argo.checking_templates import (
    TAG,
    check_containers,
    check_fields_of_kind,
    check_outputs,
    check_paths,
    check_resource,
    check_retry,
    find_cycle,
    told,
)
from pachyderm_dagster.argo.depends import Depends, from_dependencies, names_in, parse_depends
from pachyderm_dagster.argo.event_checking import check_event_source, check_sensor
from pachyderm_dagster.argo.hooks import EXIT
from pachyderm_dagster.argo.label_selectors import OPERATORS
from pachyderm_dagster.argo.library import OWN, Library, Owner, effective_spec
from pachyderm_dagster.argo.parameters import Arguments, Parameter
from pachyderm_dagster.argo.pod_gc import CLAIM_STRATEGIES, STRATEGIES
from pachyderm_dagster.argo.templates import FIELDS_OF_KINDS, KINDS, LEAVES, Hook, Step, Task, Template
from pachyderm_dagster.argo.workflows import CronSpec, CronWorkflow, EventSource, Read, Sensor, Workflow, WorkflowSpec, WorkflowTemplate
from pachyderm_dagster.pps.strict import Place
from pachyderm_dagster.schedules import check_cron

_CONCURRENCY = ("", "Allow", "Forbid", "Replace")


def check_object(read: Read, library: Library) -> None:
    """Does nothing when an object can run, or be named by one that runs.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    place = read.place.field("spec")
    match read.object:
        case Workflow(spec=spec):
            _check_workflow(spec, place, library)
        case WorkflowTemplate(metadata=metadata, spec=spec, cluster_scope=cluster_scope):
            _check_spec(spec, place, library, (cluster_scope, metadata.name))
        case CronWorkflow(spec=spec):
            _check_schedule(spec, place)
            _check_workflow(spec.workflow_spec, place.field("workflowSpec"), library)
        case EventSource(metadata=metadata, spec=spec):
            check_event_source(metadata, spec, read.place)
        case Sensor() as sensor:
            check_sensor(sensor, place, library)
            for index, (trigger, workflow) in enumerate(zip(sensor.spec.triggers, sensor.workflows, strict=True)):
                kind = "argoWorkflow" if trigger.template.argo_workflow is not None else "k8s"
                here = place.field("triggers").item(index).field("template").field(kind).field("source").field("resource")
                _check_workflow(workflow.spec, here.field("spec"), library)
        case _:
            pass


def _check_workflow(spec: WorkflowSpec, place: Place, library: Library) -> None:
    if spec.workflow_template_ref is not None and spec.templates:
        raise place.field("templates").invalid("'workflowTemplateRef' gives the templates; remove one of the two")
    here = place.field("workflowTemplateRef")
    effective = told(here, lambda: effective_spec(spec, library))
    if not effective.entrypoint:
        raise place.field("entrypoint").invalid("required, but not given")
    own = Library({**library.templates, OWN: effective}, library.config_maps, library.secrets)
    if spec.workflow_template_ref is None:
        _check_spec(spec, place, own, OWN)
    else:
        told(place.field("entrypoint"), lambda: own.named(OWN, effective.entrypoint))


def _check_schedule(spec: CronSpec, place: Place) -> None:
    if spec.schedule and spec.schedules:
        raise place.field("schedule").invalid("'schedules' is given too; remove one")
    if not (spec.schedule or spec.schedules):
        raise place.field("schedules").invalid("required, but not given")
    for index, schedule in enumerate(spec.schedules):
        told(place.field("schedules").item(index), lambda schedule=schedule: check_cron(schedule))  # type: ignore[misc]
    if spec.schedule:
        told(place.field("schedule"), lambda: check_cron(spec.schedule))
    if spec.concurrency_policy not in _CONCURRENCY:
        raise place.field("concurrencyPolicy").invalid(f"expected {' or '.join(map(repr, _CONCURRENCY[1:]))}, found {spec.concurrency_policy!r}")


def _check_removing(spec: WorkflowSpec, place: Place) -> None:
    for name, found, known in (("podGC", spec.pod_gc, STRATEGIES), ("volumeClaimGC", spec.volume_claim_gc, CLAIM_STRATEGIES)):
        if found is not None and found.strategy not in ("", *known):
            raise place.field(name).field("strategy").invalid(f"expected {' or '.join(map(repr, known))}, found {found.strategy!r}")
    selector = spec.pod_gc.label_selector if spec.pod_gc is not None else None
    for index, one in enumerate(selector.match_expressions if selector is not None else ()):
        if one.operator not in OPERATORS:
            here = place.field("podGC").field("labelSelector").field("matchExpressions").item(index)
            raise here.field("operator").invalid(f"expected {' or '.join(map(repr, OPERATORS))}, found {one.operator!r}")


def _check_spec(spec: WorkflowSpec, place: Place, library: Library, owner: Owner) -> None:
    own = library if owner in library.templates else Library({**library.templates, owner: spec}, library.config_maps, library.secrets)
    _check_removing(spec, place)
    checking = _Checking(own, owner, spec)
    checking.unique([template.name for template in spec.templates], place.field("templates"))
    checking.parameters(spec.arguments.parameters, place.field("arguments").field("parameters"))
    check_retry(spec.retry_strategy, place)
    for index, template in enumerate(spec.templates):
        here = place.field("templates").item(index)
        if not template.name:
            raise here.field("name").invalid("required, but not given")
        checking.template(template, here)
    if spec.entrypoint:
        entry = told(place.field("entrypoint"), lambda: own.named(owner, spec.entrypoint))
        checking.arguments(spec.arguments, entry, place.field("arguments"), are_global=True)
    for name, hook in spec.hooks.items():
        check_hook(name, hook, place.field("hooks").field(name))
    for field, hook in (("onExit", Hook(template=spec.on_exit)), *((f"hooks.{name}", hook) for name, hook in spec.hooks.items())):
        if hook.template or hook.template_ref:
            checking.reference(hook, place.field(field))


class _Checking:
    """The templates of one object."""

    def __init__(self, library: Library, owner: Owner, spec: WorkflowSpec) -> None:
        self._library, self._owner, self._spec = library, owner, spec

    def unique(self, names: Iterable[str], place: Place) -> None:
        """No name is there twice."""
        for name, count in Counter(names).items():
            if count > 1 and name:
                raise place.invalid(f"the name {name!r} is given {count} times; a name is given once")

    def parameters(self, parameters: Sequence[Parameter], place: Place) -> None:
        """Names are there once, and values are members of their enums."""
        self.unique([one.name for one in parameters], place)
        for index, one in enumerate(parameters):
            for value in (one.value, one.default):
                if one.enum and value is not None and TAG not in value and value not in one.enum:
                    raise place.item(index).invalid(f"{value!r} is not one of {', '.join(map(repr, one.enum))}")

    def template(self, template: Template, place: Place) -> None:
        """A template and, if it is steps or a graph, what they name."""
        kinds = [kind for kind, field in FIELDS_OF_KINDS.items() if getattr(template, field) is not None]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none"
            raise place.invalid(f"a template is exactly one of {', '.join(KINDS)}; found {found}")
        check_fields_of_kind(template, place)
        self.parameters(template.inputs.parameters, place.field("inputs").field("parameters"))
        self.unique([one.name for one in template.inputs.artifacts], place.field("inputs").field("artifacts"))
        if template.kind in LEAVES:
            check_containers(template, place)
        if template.resource is not None:
            check_resource(template.resource, template.inputs, place.field("resource"))
        check_paths(template, place)
        check_outputs(template.outputs, template.kind, place.field("outputs"))
        check_retry(template.retry_strategy, place)
        if template.steps is not None:
            self._steps(template.steps, place.field("steps"))
        if template.dag is not None:
            self._dag(template.dag.tasks, template.dag.target, place.field("dag"))
        check_tags(template, self._spec, place)

    def _steps(self, groups: tuple[tuple[Step, ...], ...], place: Place) -> None:
        self.unique([step.name for group in groups for step in group], place)
        for number, group in enumerate(groups):
            for index, step in enumerate(group):
                self._step(step, place.item(number).item(index))

    def _dag(self, tasks: tuple[Task, ...], target: str, place: Place) -> None:
        names = [task.name for task in tasks]
        self.unique(names, place.field("tasks"))
        waits = dict(depends_of_tasks(tasks, place.field("tasks")))
        for index, task in enumerate(tasks):
            here = place.field("tasks").item(index)
            for needed in names_in(waits[task.name]):
                if needed not in waits:
                    raise here.invalid(f"it depends on {needed!r}, and there is no such task; there are {', '.join(map(repr, names))}")
            self._step(task, here)
        for name in target.split():
            if name not in waits and TAG not in target:
                raise place.field("target").invalid(f"there is no task {name!r}; there are {', '.join(map(repr, names))}")
        if (cycle := find_cycle({name: names_in(found) for name, found in waits.items()})) is not None:
            raise place.field("tasks").invalid(f"tasks depend on each other: {' -> '.join(cycle)}; remove one dependency")

    def _step(self, step: Step, place: Place) -> None:
        named = [field for field, value in (("template", step.template), ("templateRef", step.template_ref), ("inline", step.inline)) if value]
        if len(named) != 1:
            raise place.invalid(f"a step has one of template, templateRef, inline; found {' and '.join(named) or 'none'}")
        many = [("withItems", step.with_items), ("withParam", step.with_param), ("withSequence", step.with_sequence)]
        given = [field for field, value in many if value is not None]
        if len(given) > 1:
            raise place.invalid(f"{' and '.join(given)} are given; a step has one of them")
        if step.with_sequence is not None and (step.with_sequence.count is None) is (step.with_sequence.end is None):
            raise place.field("withSequence").invalid("it has one of 'count' and 'end'")
        if step.inline is not None:
            self.template(step.inline, place.field("inline"))
        for name, hook in step.hooks.items():
            check_hook(name, hook, place.field("hooks").field(name))
            self.reference(hook, place.field("hooks").field(name))
        if step.on_exit:
            self.reference(Hook(template=step.on_exit), place.field("onExit"))
        self.parameters(step.arguments.parameters, place.field("arguments").field("parameters"))
        self.reference(step, place)

    def reference(self, of: Step | Hook, place: Place) -> None:
        """What is named exists, and gets what it needs. A name with a tag in it is looked up when it runs."""
        name = of.template_ref.template if of.template_ref else of.template
        if TAG in name or (of.template_ref and TAG in of.template_ref.name):
            return
        template, _ = told(place, lambda: self._library.get_template(self._owner, of))
        if (of.template_ref is None and template.kind) or of.template_ref is not None:
            self.arguments(of.arguments, template, place)

    def arguments(self, arguments: Arguments, template: Template, place: Place, *, are_global: bool = False) -> None:
        """Every input without a value of its own is given."""
        given = {one.name for one in arguments.parameters if are_global or one.value is not None or one.value_from is not None}
        for parameter in template.inputs.parameters:
            if parameter.name not in given and parameter.value is None and parameter.default is None and parameter.value_from is None:
                raise place.invalid(f"the template {template.name!r} needs the parameter {parameter.name!r}; give it under 'arguments'")
        there = {one.name for one in arguments.artifacts}
        for artifact in template.inputs.artifacts:
            if artifact.name not in there and not artifact.optional and not artifact.has_source and not are_global:
                raise place.invalid(f"the template {template.name!r} needs the artifact {artifact.name!r}; give it under 'arguments'")


def check_hook(name: str, hook: Hook, place: Place) -> None:
    """A hook says when it is run, unless that is at the end.

    Raises:
        InvalidError: `spec-invalid`.
    """
    if name != EXIT and not hook.expression:
        raise place.field("expression").invalid("required, but not given; only the hook 'exit' has none")


def depends_of_tasks(tasks: Sequence[Task], place: Place) -> Iterator[tuple[str, Depends | None]]:
    """What each task waits for.

    Raises:
        InvalidError: `spec-invalid`.
    """
    forms = {field for task in tasks for field, value in (("depends", task.depends), ("dependencies", task.dependencies)) if value}
    if len(forms) > 1:
        raise place.invalid("'depends' and 'dependencies' are both used; a graph uses one of them")
    for index, task in enumerate(tasks):
        here = place.item(index)
        if "depends" in forms and task.name[:1].isdigit():
            raise here.field("name").invalid(f"{task.name!r} begins with a digit, which 'depends' does not take; choose another name")
        if "depends" in forms and task.continue_on is not None:
            raise here.field("continueOn").invalid("a graph with 'depends' has no 'continueOn'; write what is tolerated as `task.Failed`")
        yield task.name, depends_of(task, here)


def depends_of(task: Task, place: Place) -> Depends | None:
    """What one task waits for. Errors as `depends_of_tasks`."""
    if not task.depends:
        return from_dependencies(task.dependencies)
    found: Depends = told(place.field("depends"), lambda: parse_depends(task.depends))
    return found
