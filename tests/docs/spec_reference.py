"""docs/reference/pipeline-spec.md, from the structs that pipeline files are read into: `python -m tests.docs.spec_reference` writes it anew.

What a field means stands as a string below it in its struct; other names, names without effect and names that are refused, in pps/vocabulary.py.
"""

import ast
import datetime as dt
import enum
import inspect
import re
import textwrap
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pachyderm_dagster.pps.inputs import SET_INPUTS, ByteCount, CronInput, Input, PfsInput
from pachyderm_dagster.pps.pods import Quantity
from pachyderm_dagster.pps.spec import KUBERNETES_ONLY, KUBERNETES_ONLY_TRANSFORM, JsonText, PipelineName, PipelineSpec, Seconds, Transform
from pachyderm_dagster.pps.strict import OtherNames, without_none
from pachyderm_dagster.pps.vocabulary import OTHER_NAMES, REFUSED_INPUTS
from tests.docs.markdown import ROOT

PAGE = ROOT / "docs" / "reference" / "pipeline-spec.md"
HEAD = """# Fields of pipeline files

Every field that a pipeline file may have, and every name of Pachyderm's, 1.x and 2.x, that is taken without effect or refused (with `spec-unsupported`).
What they do together, with examples: [pipeline files](pipelines.md). Names are taken in snake_case and camelCase. A field that is not here is an error.

This page is made from the code; `python -m tests.docs.spec_reference` writes it anew.
"""
SCALARS: Mapping[Any, str] = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    dt.datetime: "time, `2026-01-31T00:00:00Z`",
    Seconds: "duration, `1h30m`, or seconds",
    Quantity: "quantity of Kubernetes",
    JsonText: "string that holds JSON",
    ByteCount: "size, `1GB`, or bytes",
}
MADE: Mapping[tuple[type, str], str] = {
    (PipelineName, "project"): "that of the command",
    (PipelineSpec, "salt"): "one is made",
    (PfsInput, "name"): "the repo's name",
    (PfsInput, "project"): "the pipeline's",
    (PfsInput, "branch"): "`master`; with a `trigger` `<pipeline>-trigger-<n>`",
    (CronInput, "repo"): "`<pipeline>_<name>`",
    (CronInput, "start"): "the making of the pipeline",
    (Transform, "working_dir"): "the folder above `/pfs`, with `build` `/pfs/source`",
}
"""Defaults that depend on more than the field."""
SEE: Mapping[str, str] = {
    "input": "inputs",
    "egress": "egress",
    "service": "services-and-spouts",
    "spout": "services-and-spouts",
    "reprocess_spec": "what-is-skipped-and-what-runs",
    "transform.err_cmd": "what-the-command-finds",
    "transform.secrets": "secrets",
    "transform.datum_batching": "datum-batching",
    "transform.build": "source-folders",
    "pfs.glob": "datums",
    "pfs.lazy": "what-the-command-finds",
}
"""The part of pipelines.md that tells more about a field."""
OTHER_KEYS: Mapping[str, str] = {"pfs": "`atom`"}


def written() -> str:
    """The page as it should be."""
    places: dict[type, list[str]] = {}
    for kind, place in (*structs(PipelineSpec, ""), *structs(PfsInput, "pfs"), *structs(CronInput, "cron")):
        places.setdefault(kind, []).append(place)
    sections = [section(kind, found, places) for kind, found in places.items()]
    sections.insert(list(places).index(PfsInput), input_section())
    return "\n".join([HEAD, *sections])


def structs(kind: type, place: str) -> Iterator[tuple[type, str]]:
    """A struct and those in its fields, each with where it is; not those of inputs."""
    yield kind, place
    for name, hint in hints_of(kind).items():
        inner = struct_in(hint)
        if inner is not None:
            yield from structs(inner, f"{place}.{name}" if place else name)


def hints_of(kind: type) -> dict[str, Any]:
    """The types of a struct's fields."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {known.name: hints[known.name] for known in msgspec.structs.fields(kind)}


def struct_in(hint: Any) -> type | None:
    """The struct that a field is, or a list of."""
    kind = without_none(hint)
    if typing.get_origin(kind) is tuple:
        kind = typing.get_args(kind)[0]
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def section(kind: type, found: list[str], places: Mapping[type, list[str]]) -> str:
    """A struct's heading, its fields, and what else its object takes or refuses."""
    others = OTHER_NAMES.get(kind, OtherNames())
    used = f"In {', '.join(f'`{place}`' for place in found)}." if len(found) > 1 else ""
    intro = [first_paragraph(kind), used, f"Also called {OTHER_KEYS[found[0]]}." if found[0] in OTHER_KEYS else ""]
    rows = [row(kind, known, found[0], places, others) for known in msgspec.structs.fields(kind)]
    parts = [f"## {title_of(kind, found)}\n\n{' '.join(filter(None, intro))}\n", table(("field", "type", "default", "meaning"), rows)]
    if others.without_effect:
        parts.append(table(("taken without effect", "because"), [(f"`{name}`", why) for name, why in others.without_effect.items()]))
    if others.refused:
        parts.append(table(("refused", "instead"), [(refused_name(name, others), why) for name, why in others.refused.items()]))
    return "\n".join(parts)


def input_section() -> str:
    kinds = [("`pfs`", "[a branch of a repo](#pfs)"), ("`cron`", "[a clock](#cron)")]
    kinds += [(f"`{key}`", f"list of inputs: {lower_first(first_paragraph(kind))}") for key, kind in SET_INPUTS.items()]
    head = "## input\n\nAn object with one of these; sets stand in sets.\n"
    refused = table(("refused", "instead"), [(f"`{name}`", why) for name, why in REFUSED_INPUTS.items()])
    return "\n".join([head, table(("kind", "is"), kinds), refused])


def row(kind: type, known: Any, place: str, places: Mapping[type, list[str]], others: OtherNames) -> tuple[str, ...]:
    name = known.name
    path = f"{place}.{name}" if place else name
    meaning = [meanings(kind)[name]]
    if name in (KUBERNETES_ONLY if kind is PipelineSpec else KUBERNETES_ONLY_TRANSFORM if kind is Transform else ()):
        meaning.append("Kept; without effect on one machine.")
    if path in SEE:
        meaning.append(f"[More](pipelines.md#{SEE[path]}).")
    old = [f"`{other}`" for other, (renamed, _) in others.renamed.items() if renamed == name and other != name]
    if old:
        meaning.append(f"Also called {', '.join(old)}.")
    return f"`{name}`", type_of(hints_of(kind)[name], places), default_of(kind, known), " ".join(meaning)


def type_of(hint: Any, places: Mapping[type, list[str]]) -> str:
    """A type in words, with a link to the fields of an object."""
    kind = without_none(hint)
    if kind == without_none(Input):
        return "[input](#input)"
    if kind in SCALARS:
        return SCALARS[kind]
    inner = struct_in(hint)
    if inner is not None:
        link = f"[object](#{anchor(title_of(inner, places[inner]))})"
        return link.replace("[object]", "[list of objects]") if typing.get_origin(kind) is tuple else link
    if typing.get_origin(kind) is tuple:
        return f"list of {type_of(typing.get_args(kind)[0], places)}s"
    if typing.get_origin(kind) is dict:
        return "object of strings"
    assert issubclass(kind, enum.Enum), kind
    return "one of " + ", ".join(f"`{member.value}`" for member in kind)


def default_of(kind: type, known: Any) -> str:
    if (kind, known.name) in MADE:
        return MADE[kind, known.name]
    if known.required:
        return "required"
    default = known.default if known.default_factory is msgspec.NODEFAULT else known.default_factory()
    if isinstance(default, msgspec.Struct) or (default in (None, "", (), {}, 0) and default is not False):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else getattr(default, 'value', default)}`"


def meanings(kind: type, inherited: Collection[str] = ()) -> dict[str, str]:
    """The string below each field of a struct, without those that it has from another.

    Raises:
        AssertionError: one has none.
    """
    (struct,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(struct, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(struct.body, [*struct.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[field.target.id] = " ".join(str(below.value.value).split())
    missing = [known.name for known in msgspec.structs.fields(kind) if known.name not in {*found, *inherited}]
    assert not missing, f"write below each of the fields of {kind.__name__} what it means: {', '.join(missing)}"
    return found


def refused_name(name: str, others: OtherNames) -> str:
    harmless = others.harmless.get(name, ())
    return f"`{name}`" + (f" other than {' or '.join(f'`{value}`' for value in harmless)}" if harmless else "")


def title_of(kind: type, found: list[str]) -> str:
    """A heading: where the struct is, or its own name where that is at several places or everything."""
    return found[0] if len(found) == 1 and found[0] else "The whole" if found == [""] else kind.__name__.lower()


def anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def first_paragraph(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def lower_first(text: str) -> str:
    return text[0].lower() + text[1:]


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(written())
