"""How long workers that stay between jobs are kept without one, where a pipeline says it itself."""

from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.pps.strict import Place
from pachyderm_dagster.settings import NEVER, find_seconds

COOLDOWN = "pachyderm-dagster/cooldown-seconds"
"""The annotation of a pipeline's `metadata`: the specification is Pachyderm's, and has no field for it."""


def check_cooldown(spec: PipelineSpec, place: Place) -> None:
    """Does nothing when the annotation can be read, and means something.

    Raises:
        InvalidError: `spec-invalid`.
    """
    said = _said(spec)
    if said is None:
        return
    there = place.field("metadata").field("annotations")
    if find_seconds(said) is None:
        raise there.invalid(f"{COOLDOWN} is {said!r}; it takes a number of seconds, such as '300', or '{NEVER}'")
    if not spec.autoscaling:
        raise there.invalid(f"{COOLDOWN} is of workers that stay between jobs; add 'autoscaling: true', or remove it")


def cooldown_of(spec: PipelineSpec, default: float) -> float:
    """In seconds, infinite for never; `default` where the pipeline says nothing."""
    found = find_seconds(_said(spec) or "")
    return default if found is None else found


def _said(spec: PipelineSpec) -> str | None:
    return None if spec.metadata is None else spec.metadata.annotations.get(COOLDOWN)
