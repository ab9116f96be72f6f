"""The parts of a workflow that somebody else than the engine can put in order: the steps of its entrypoint, when each of them only waits for others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pachyderm_dagster.argo import names
from pachyderm_dagster.argo.depends import Both, Depends, Name, from_dependencies, names_in, parse_depends
from pachyderm_dagster.argo.library import OWN, Library
from pachyderm_dagster.argo.subject import exit_handler, with_defaults
from pachyderm_dagster.argo.templates import Step, Template
from pachyderm_dagster.argo.workflows import WorkflowSpec
from pachyderm_dagster.errors import NotFoundError

# What of `depends` holds only when what it names was not a failure, and not left out because of one.
_NEVER_AFTER_A_FAILURE = ("", "Succeeded", "Skipped")


@dataclass(frozen=True, slots=True)
class Part:
    """A step or task of the entrypoint.

    Attributes:
        name: of it.
        place: where its nodes are below that of the workflow: their names begin with the workflow's, and this.
        template: what it runs, for people.
        after: the parts that it waits for.
    """

    name: str
    place: str
    template: str
    after: tuple[str, ...]


def parts_of(spec: WorkflowSpec, library: Library) -> tuple[Part, ...]:
    """The parts of a workflow, of which `why_whole` says nothing, in the order in which they stand."""
    entry = library.named(OWN, spec.entrypoint)
    if entry.dag is not None:
        return tuple(
            Part(task.name, names.task_name("", task.name), _template(task), tuple(names_in(_depends(task.depends, task.dependencies))))
            for task in entry.dag.tasks
        )
    return tuple(_parts_of_steps(entry.steps or ()))


def _parts_of_steps(groups: Sequence[Sequence[Step]]) -> Iterator[Part]:
    before: tuple[str, ...] = ()
    for index, group in enumerate(groups):
        for step in group:
            yield Part(step.name, names.step_name("", index, step.name), _template(step), before)
        before = tuple(step.name for step in group) or before


def _template(step: Step) -> str:
    if step.template_ref is not None:
        return f"{step.template_ref.name}/{step.template_ref.template}"
    return step.template


def _depends(depends: str, dependencies: Sequence[str]) -> Depends | None:
    return parse_depends(depends) if depends else from_dependencies(dependencies)


def why_whole(spec: WorkflowSpec, library: Library) -> str | None:
    """Why a workflow can be run as a whole only; None when its steps can be run one by one, each after those that it waits for succeeded."""
    entry = with_defaults(library.named(OWN, spec.entrypoint), spec)
    if entry.kind not in ("steps", "dag"):
        return f"its entrypoint {entry.name!r} is neither 'steps' nor 'dag'"
    reasons = {
        "it has an exit handler or hooks": exit_handler(spec) is not None or spec.hooks,
        "it has a deadline": spec.active_deadline_seconds is not None,
        "it holds locks": spec.synchronization is not None or entry.synchronization is not None,
        "it measures itself": spec.metrics is not None or entry.metrics is not None,
        f"what its entrypoint {entry.name!r} gives may be kept for the next time": entry.memoize is not None,
        "'parallelism' limits what runs at once": spec.parallelism or entry.parallelism,
        f"its entrypoint {entry.name!r} is 'failFast'": entry.fail_fast,
        f"its entrypoint {entry.name!r} is tried again": entry.retry_strategy is not None,
        f"its entrypoint {entry.name!r} has a 'target'": entry.dag is not None and entry.dag.target,
    }
    return next((reason for reason, holds in reasons.items() if holds), None) or _why_step(entry, library)


def _why_step(entry: Template, library: Library) -> str | None:
    for step in entry.flow:
        if _is_daemon(step, library):
            return f"what follows {step.name!r} uses it while it runs"
        if step.continue_on is not None:
            return f"what follows {step.name!r} is run after its failure too"
    for task in entry.dag.tasks if entry.dag is not None else ():
        if not _only_after_successes(_depends(task.depends, task.dependencies)):
            return f"{task.name!r} is run after failures too: {task.depends!r}"
    return None


def _is_daemon(step: Step, library: Library) -> bool:
    try:
        return library.get_template(OWN, step)[0].daemon
    except NotFoundError:
        # Its name has tags: it is looked up when it runs.
        return True


def _only_after_successes(depends: Depends | None) -> bool:
    match depends:
        case None:
            return True
        case Name(result=result):
            return result in _NEVER_AFTER_A_FAILURE
        case Both(left, right):
            return _only_after_successes(left) and _only_after_successes(right)
        case _:
            return False
