"""What a specification says of limits, as far as one machine can hold code to them: memory and processors."""

from pachyderm_dagster.pps.pods import quantity_value
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.worker.cgroups import Limits


def limits_of(spec: PipelineSpec) -> Limits | None:
    """What the code of a pipeline may use at most; None when nothing is said."""
    said = spec.resource_limits
    if said is None:
        return None
    found = Limits(memory=int(quantity_value(said.memory)), cpu=said.cpu)
    return found if found.controllers else None
