"""Resumes nodes that wait for somebody."""

from collections.abc import Mapping

from pachyderm_dagster.argo.names import joined
from pachyderm_dagster.argo.nodes import Node
from pachyderm_dagster.argo.runs import Answer, RunFolder
from pachyderm_dagster.errors import InvalidError, StateError


def answer(run: RunFolder, given: Mapping[str, str], *, node: str | None = None) -> None:
    """Resumes the suspended nodes of a run, or the one of this name, with parameters.

    Args:
        given: what the templates of the nodes ask for.
        node: its name, full or as it is shown.

    Raises:
        StateError: `workflow-not-suspended`.
        InvalidError: `parameter-unknown`.
    """
    waiting = [one for one in run.suspended() if node in (None, one.name, one.display_name)]
    if not waiting:
        raise StateError("workflow-not-suspended", f"nothing in the workflow {run.name!r} waits for a resume; `pachctl argo get {run.name}` shows what it does")
    asked = asked_of(run, waiting)
    for name in given:
        if name not in asked:
            raise InvalidError("parameter-unknown", f"nobody asks for the parameter {name!r}; asked for: {joined(asked)}")
    run.answer([Answer(one.name, dict(given)) for one in waiting])


def asked_of(run: RunFolder, waiting: list[Node]) -> list[str]:
    """The parameters that the templates of suspended nodes ask for."""
    subject, _ = run.subject()
    names = {node.template for node in waiting}
    asked = {
        one.name for spec in subject.library.templates.values() for template in spec.templates if template.name in names for one in template.outputs.parameters
    }
    return sorted(asked)
