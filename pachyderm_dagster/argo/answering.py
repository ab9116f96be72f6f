"""Resumes nodes that wait for somebody."""

from collections.abc import Mapping

from pachyderm_dagster.argo.names import joined
from pachyderm_dagster.argo.nodes import Node, Phase
from pachyderm_dagster.argo.run_folder import Answer, RunFolder
from pachyderm_dagster.argo.selectors import selected
from pachyderm_dagster.errors import InvalidError, StateError


def answer(
    run: RunFolder, given: Mapping[str, str], *, node: str | None = None, selector: str = "", phase: Phase | None = Phase.SUCCEEDED, message: str = ""
) -> None:
    """Resumes the suspended nodes of a run, or some of them, with parameters.

    Args:
        given: what the templates of the nodes ask for.
        node: the name of the only one that is meant, full or as it is shown.
        selector: those that are meant (`selectors`).
        phase: as what they end; without one they get the parameters, and wait on.
        message: why.

    Raises:
        StateError: `workflow-not-suspended`.
        InvalidError: `parameter-unknown`, `selector-invalid`.
    """
    waiting = waiting_of(run, node=node, selector=selector)
    if not waiting:
        raise StateError("workflow-not-suspended", f"nothing in the workflow {run.name!r} waits for a resume; `pachctl argo get {run.name}` shows what it does")
    asked = asked_of(run, waiting)
    for name in given:
        if name not in asked:
            raise InvalidError("parameter-unknown", f"nobody asks for the parameter {name!r}; asked for: {joined(asked)}")
    run.answer([Answer(one.name, dict(given), phase, message) for one in waiting])


def waiting_of(run: RunFolder, *, node: str | None = None, selector: str = "") -> list[Node]:
    """The suspended nodes of a run that are meant.

    Raises:
        InvalidError: `selector-invalid`.
    """
    return [one for one in run.suspended() if node in (None, one.name, one.display_name) and selected(selector, one)]


def asked_of(run: RunFolder, waiting: list[Node]) -> list[str]:
    """The parameters that the templates of suspended nodes ask for."""
    subject, _ = run.subject()
    names = {node.template for node in waiting}
    asked = {
        one.name for spec in subject.library.templates.values() for template in spec.templates if template.name in names for one in template.outputs.parameters
    }
    return sorted(asked)
