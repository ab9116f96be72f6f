"""The objects that others may name: templates of other objects, ConfigMaps and Secrets, EventSources."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from pachyderm_dagster.argo.event_sources import EventSourceSpec
from pachyderm_dagster.argo.merging import merged_structs
from pachyderm_dagster.argo.names import joined
from pachyderm_dagster.argo.templates import Hook, Step, Template
from pachyderm_dagster.argo.workflows import EventSource, Read, Values, WorkflowSpec, WorkflowTemplate
from pachyderm_dagster.errors import NotFoundError

Owner: TypeAlias = tuple[bool, str]
"""An object with templates: whether it is a ClusterWorkflowTemplate, and its name."""
OWN: Owner = (False, "")
"""The workflow itself."""


@dataclass(slots=True)
class Library:
    """All of them by name."""

    templates: dict[Owner, WorkflowSpec] = field(default_factory=dict)
    config_maps: dict[str, dict[str, str]] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    event_sources: dict[str, EventSourceSpec] = field(default_factory=dict)

    def get_spec(self, owner: Owner) -> WorkflowSpec:
        """The spec of an object.

        Raises:
            NotFoundError: `workflow-template-not-found`.
        """
        if owner not in self.templates:
            kind = "ClusterWorkflowTemplate" if owner[0] else "WorkflowTemplate"
            known = joined(sorted(name for cluster, name in self.templates if cluster is owner[0] and name))
            message = f"there is no {kind} {owner[1]!r}; there are: {known}; give the file that it is in too"
            raise NotFoundError("workflow-template-not-found", message)
        return self.templates[owner]

    def get_template(self, owner: Owner, of: Step | Hook) -> tuple[Template, Owner]:
        """The template that a step of `owner` names, and the object in which the templates are looked up that it names itself.

        Raises:
            NotFoundError: `workflow-template-not-found`, `template-not-found`.
        """
        if isinstance(of, Step) and of.inline is not None:
            return of.inline, owner
        reference = of.template_ref
        name = of.template
        if reference is not None:
            owner, name = (reference.cluster_scope, reference.name), reference.template
        return self.named(owner, name), owner

    def named(self, owner: Owner, name: str) -> Template:
        """The template of a name in an object. Errors as `get_template`."""
        spec = self.get_spec(owner)
        for template in spec.templates:
            if template.name == name:
                return template
        where = f" in {owner[1]!r}" if owner[1] else ""
        known = joined([template.name for template in spec.templates])
        raise NotFoundError("template-not-found", f"there is no template {name!r}{where}; there are: {known}")


def library_of(objects: Iterable[Read]) -> Library:
    """What the objects of files hold that workflows may name."""
    found = Library()
    for read in objects:
        match read.object:
            case WorkflowTemplate(metadata=metadata, spec=spec, cluster_scope=cluster_scope):
                found.templates[cluster_scope, metadata.name] = spec
            case Values(metadata=metadata, data=data, secret=secret):
                (found.secrets if secret else found.config_maps)[metadata.name] = data
            case EventSource(metadata=metadata, spec=spec):
                found.event_sources[metadata.name] = spec
            case _:
                pass
    return found


def effective_spec(spec: WorkflowSpec, library: Library) -> WorkflowSpec:
    """The spec of a workflow over that of the object that its `workflowTemplateRef` names.

    Raises:
        NotFoundError: `workflow-template-not-found`.
    """
    reference = spec.workflow_template_ref
    if reference is None:
        return spec
    below = library.get_spec((reference.cluster_scope, reference.name))
    return merged_structs(below, msgspec.structs.replace(spec, workflow_template_ref=None))
