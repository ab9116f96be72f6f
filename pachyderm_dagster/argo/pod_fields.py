"""What workflows and templates say of pods of Kubernetes, handed on as it stands; pods of one machine do without."""

from typing import Any, TypeAlias

import msgspec

from pachyderm_dagster.argo.merging import merged
from pachyderm_dagster.argo.parameters import Plain

Manifest: TypeAlias = dict[str, Any]


class PodFields(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Of the pods of a workflow, or of a template."""

    node_selector: Plain | None = None
    """Labels of the nodes that pods may run on."""
    tolerations: tuple[Plain, ...] = ()
    """Taints of nodes that pods tolerate."""
    affinity: Plain | None = None
    """Which nodes pods would like, or must have."""
    service_account_name: str = ""
    """As whom pods run."""
    automount_service_account_token: bool | None = None
    """Whether pods have a token."""
    security_context: Plain | None = None
    """Users, groups and rights of the pod."""
    host_aliases: tuple[Plain, ...] = ()
    """Further names of hosts."""
    priority_class_name: str = ""
    """How important pods are."""
    scheduler_name: str = ""
    """Who places pods."""
    pod_spec_patch: str = ""
    """YAML or JSON that is merged over the spec of the pod, strategically; the workflow's first, then the template's."""


FOR_PODS = tuple(known.name for known in msgspec.structs.fields(PodFields))
_PATCH = "podSpecPatch"


def pod_spec_of(of_workflow: PodFields, of_template: PodFields, more: Manifest) -> Manifest:
    """The fields of a pod's spec: those of the template over those of the workflow, of which `more` are some too."""
    return merged(_fields(of_workflow) | more, _fields(of_template))


def _fields(found: PodFields) -> Manifest:
    given = PodFields(**{name: getattr(found, name) for name in FOR_PODS})
    document: Manifest = msgspec.to_builtins(given)
    document.pop(_PATCH, None)
    return document
