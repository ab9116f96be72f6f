"""docs/reference/argo.md, from the structs that workflow files are read into: `python -m tests.docs.argo_reference` writes it anew."""

import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from pachyderm_dagster.argo.event_sources import EventSourceSpec
from pachyderm_dagster.argo.parameters import Plain, Text, Texts
from pachyderm_dagster.argo.reading import REFUSED_KINDS
from pachyderm_dagster.argo.sensors import SensorSpec
from pachyderm_dagster.argo.templates import Items
from pachyderm_dagster.argo.vocabulary import OTHER_NAMES
from pachyderm_dagster.argo.workflows import CronSpec, Metadata, WorkflowSpec
from pachyderm_dagster.pps.strict import OtherNames, without_none
from tests.docs.markdown import ROOT
from tests.docs.spec_reference import anchor, first_paragraph, hints_of, meanings, table

PAGE = ROOT / "docs" / "reference" / "argo.md"
HEAD = """# Fields of workflow files

Every field that a Workflow, WorkflowTemplate, ClusterWorkflowTemplate or CronWorkflow, an EventSource or a Sensor may have here, every name of Argo's
that is taken without effect, and every one that is refused (with `spec-unsupported`). A field that is not here is an error, told with its line and path.
ConfigMaps and Secrets that workflows read stand in the same files, or in others that are given with them.

This page is made from the code; `python -m tests.docs.argo_reference` writes it anew.
"""
SCALARS: dict[Any, str] = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    Text: "string",
    Texts: "list of strings",
    Items: "list",
    Plain: "object",
}


def structs(kind: type, seen: dict[type, None]) -> dict[type, None]:
    """A struct and all that are in its fields, each once."""
    if kind not in seen:
        seen[kind] = None
        for hint in hints_of(kind).values():
            for inner in structs_in(hint):
                structs(inner, seen)
    return seen


def structs_in(hint: Any) -> Iterator[type]:
    kind = without_none(hint)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for inner in typing.get_args(kind):
        yield from structs_in(inner)


def written() -> str:
    """The page as it should be."""
    kinds = structs(Metadata, {})
    for kind in (WorkflowSpec, CronSpec, EventSourceSpec, SensorSpec):
        structs(kind, kinds)
    refused = table(("kind", "instead"), [(f"`{name}`", why) for name, why in REFUSED_KINDS.items()])
    return "\n".join([HEAD, *map(section, kinds), f"## Kinds that are refused\n\n{refused}"])


def section(kind: type) -> str:
    others = OTHER_NAMES.get(kind, OtherNames())
    means = meanings_of(kind)
    rows = [(f"`{known.encode_name}`", type_of(hints_of(kind)[known.name]), means[known.name]) for known in msgspec.structs.fields(kind)]
    parts = [f"## {kind.__name__}\n\n{first_paragraph(kind)}\n"]
    if rows:
        parts.append(table(("field", "type", "meaning"), rows))
    if others.renamed:
        parts.append(table(("also taken", "as"), [(f"`{name}`", f"`{field}`") for name, (field, _) in others.renamed.items()]))
    if others.without_effect:
        parts.append(table(("taken without effect", "because"), [(f"`{name}`", why) for name, why in others.without_effect.items()]))
    if others.refused:
        parts.append(table(("refused", "instead"), [(f"`{name}`", why) for name, why in others.refused.items()]))
    return "\n".join(parts)


def meanings_of(kind: type) -> dict[str, str]:
    """What the fields of a struct mean, also of those that it has from another."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base is not msgspec.Struct and issubclass(base, msgspec.Struct):
            inherited = {known.name for parent in base.__bases__ if issubclass(parent, msgspec.Struct) for known in msgspec.structs.fields(parent)}
            found |= meanings(base, inherited)
    return found


def type_of(hint: Any) -> str:
    """A type in words, with a link to the fields of an object."""
    kind = without_none(hint)
    if kind in SCALARS:
        return SCALARS[kind]
    if typing.get_origin(kind) is tuple:
        return f"list of {type_of(typing.get_args(kind)[0])}s" if typing.get_args(kind)[0] is str else f"list of {type_of(typing.get_args(kind)[0])}"
    if typing.get_origin(kind) is dict:
        return f"map of {type_of(typing.get_args(kind)[1])}"
    return f"[{kind.__name__}](#{anchor(kind.__name__)})"


if __name__ == "__main__":
    PAGE.write_text(written())
