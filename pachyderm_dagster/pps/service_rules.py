"""What holds between the fields of a service or a spout, and which of them mean nothing for one."""

from collections.abc import Iterator

from pachyderm_dagster.pps.services import Service, ServiceType
from pachyderm_dagster.pps.spec import ParallelismSpec, PipelineSpec, Reprocess, Transform
from pachyderm_dagster.pps.strict import Place

_MOST_PORT = 65535
_WITHOUT_DATUMS = ("datum_set_spec", "datum_tries", "datum_timeout", "job_timeout")


def check_service(spec: PipelineSpec, place: Place) -> None:
    """Does nothing when the specification is that of a transformation, a service or a spout, and of one of them only.

    Raises:
        InvalidError: `spec-invalid`.
    """
    if spec.service is not None and spec.spout is not None:
        raise place.invalid("has 'service' and 'spout'; a spout that listens on a port says so in 'spout.service'")
    if spec.spout is None and spec.input is None:
        raise place.field("input").invalid("required, but not given")
    if spec.spout is not None and spec.input is not None:
        raise place.field("input").invalid("a spout has no input; remove it, or write 'service' for code that serves what its input holds")
    if not spec.runs_on:
        return
    kind = spec.kind
    if spec.parallelism_spec.constant > ParallelismSpec().constant:
        raise place.field("parallelism_spec").invalid(f"a {kind} is one process; remove it, or make several pipelines")
    if spec.egress is not None:
        raise place.field("egress").invalid(f"a {kind} has no output that a job sends; let a pipeline that reads its output have the egress")
    if spec.transform.datum_batching:
        raise place.field("transform").field("datum_batching").invalid(f"a {kind} has no datums to ask for; remove it")
    if spec.autoscaling and spec.spout is not None:
        raise place.field("autoscaling").invalid("a spout has no datums to be scaled by; remove it")
    if spec.service is not None:
        _check_port(spec.service, place.field("service"))
    elif spec.spout is not None and spec.spout.service is not None:
        _check_port(spec.spout.service, place.field("spout").field("service"))


def _check_port(service: Service, place: Place) -> None:
    if not service.port:
        raise place.field("internal_port").invalid("required: the port that the code listens on")
    for name in ("internal_port", "external_port"):
        if getattr(service, name) > _MOST_PORT:
            raise place.field(name).invalid(f"{getattr(service, name)} is no port; they end at {_MOST_PORT}")


def unused_fields(spec: PipelineSpec) -> tuple[str, ...]:
    """Fields that this specification sets and that a process which runs on has no use for on one machine; none of a transformation."""
    return tuple(_unused(spec)) if spec.runs_on else ()


def _unused(spec: PipelineSpec) -> Iterator[str]:
    unset = PipelineSpec(pipeline=spec.pipeline, transform=Transform())
    yield from (name for name in _WITHOUT_DATUMS if getattr(spec, name) != getattr(unset, name))
    # A source folder sets it too.
    if spec.transform.build is None and spec.reprocess_spec is not Reprocess.UNTIL_SUCCESS:
        yield "reprocess_spec"
    if spec.transform.err_cmd:
        yield "transform.err_cmd"
    found, name = (spec.service, "service") if spec.spout is None else (spec.spout.service, "spout.service")
    if found is not None:
        if found.external_port not in (0, found.port):
            yield f"{name}.external_port"
        if found.ip:
            yield f"{name}.ip"
        if found.type is not ServiceType.NODE_PORT:
            yield f"{name}.type"
