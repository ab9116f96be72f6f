"""What pods of this machine cannot have, though those of a cluster can: refused before a workflow is kept to be run here."""

from collections.abc import Iterable, Iterator

from pachyderm_dagster.argo.containers import CLUSTER_VOLUMES, Container, Volume
from pachyderm_dagster.argo.subject import Subject
from pachyderm_dagster.argo.templates import Template
from pachyderm_dagster.errors import InvalidError

_INSTEAD = "run it on a cluster (PACHYDERM_EXECUTOR=kubernetes), or"


def check_for_this_machine(subject: Subject) -> None:
    """Refuses a workflow of which a pod cannot be a process of this machine.

    Raises:
        InvalidError: `spec-unsupported`.
    """
    _check_volumes(subject.spec.volumes, "spec.volumes")
    for template in subject.spec.templates:
        check_template(template)
    for (_, owner), spec in subject.library.templates.items():
        if owner:
            _check_volumes(spec.volumes, f"{owner}: spec.volumes")
            for template in spec.templates:
                check_template(template)


def check_template(template: Template) -> None:
    """Refuses a template whose pod cannot be a process of this machine. Errors as `check_for_this_machine`."""
    where = f"the template {template.name!r}"
    _check_volumes(template.volumes, f"{where}: volumes")
    for container in _containers(template):
        _check_container(container, where)
    for step in template.flow:
        if step.inline is not None:
            check_template(step.inline)


def _containers(template: Template) -> Iterator[Container]:
    yield from template.containers
    yield from template.init_containers
    yield from template.sidecars


def _check_volumes(volumes: Iterable[Volume], where: str) -> None:
    for volume in volumes:
        for field, name in CLUSTER_VOLUMES.items():
            if getattr(volume, field) is not None:
                raise _refused(
                    f"{where}: the volume {volume.name!r} is of the kind {name}", "use emptyDir, a claim, configMap, secret, projected or downwardAPI"
                )
        downward = volume.downward_api.items if volume.downward_api is not None else ()
        sources = volume.projected.sources if volume.projected is not None else ()
        if any(source.service_account_token is not None for source in sources):
            raise _refused(f"{where}: the volume {volume.name!r} holds a token of a service account", "give it as a Secret")
        downward += tuple(item for source in sources if source.downward_api is not None for item in source.downward_api.items)
        if any(item.resource_field_ref is not None for item in downward):
            raise _refused(f"{where}: the volume {volume.name!r} holds limits of a container", "write the number where it is read")


def _check_container(container: Container, where: str) -> None:
    if container.volume_devices:
        raise _refused(f"{where}: volumeDevices", "use volumeMounts")
    for mount in container.volume_mounts:
        if mount.sub_path_expr:
            raise _refused(f"{where}: subPathExpr of the volume {mount.name!r}", "use subPath, in which tags are replaced")
    for variable in container.env:
        if variable.value_from is not None and variable.value_from.resource_field_ref is not None:
            raise _refused(f"{where}: the variable {variable.name!r} is a limit of the container", "write the value")


def _refused(what: str, instead: str) -> InvalidError:
    return InvalidError("spec-unsupported", f"{what}, which pods of this machine cannot have; {_INSTEAD} {instead}")
