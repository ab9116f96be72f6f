"""docs/reference/pipelines.md has every field that a specification may have, and every name that is refused, renamed or without effect."""

import re
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pachyderm_dagster.pps.inputs import CronInput, PfsInput
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.pps.strict import without_none
from pachyderm_dagster.pps.vocabulary import OTHER_NAMES, REFUSED_INPUTS
from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs" / "reference" / "pipelines.md").read_text()
# What stands in backticks, and the keys in examples.
NAMES = {part for code in re.findall(r"`([^`\n]+)`", PAGE) for part in re.findall(r"[A-Za-z_][A-Za-z_.0-9]*", code)}
KEYS = {key for block in re.findall(r"^```.*?^```", PAGE, re.MULTILINE | re.DOTALL) for key in re.findall(r"\b[a-z_0-9]+(?=:)", block)}


def fields(kind: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """Every field of a struct and of those in it: where it is, and its name."""
    hints = typing.get_type_hints(kind)
    for known in msgspec.structs.fields(kind):
        yield above, known.name
        for inner in structs_in(hints[known.name]):
            yield from fields(inner, f"{above}{known.name}.")


def structs_in(hint: Any) -> list[Any]:
    kind = without_none(hint)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    members = [member for member in typing.get_args(kind) if isinstance(member, type) and issubclass(member, msgspec.Struct)]
    # The kinds of input contain inputs again.
    return [] if PfsInput in members else members


@pytest.mark.parametrize(("above", "name"), [*fields(PipelineSpec), *fields(PfsInput, "pfs."), *fields(CronInput, "cron.")])
def test_every_field_is_documented(above: str, name: str) -> None:
    assert f"{above}{name}" in NAMES or (above != "" and (name in NAMES or name in KEYS)), f"{above}{name}"


@pytest.mark.parametrize("kind", OTHER_NAMES, ids=lambda kind: kind.__name__)
def test_every_other_name_is_documented(kind: type) -> None:
    others = OTHER_NAMES[kind]
    last = {name.rpartition(".")[2] for name in NAMES}
    assert {*others.renamed, *others.without_effect, *others.refused} - last == set()


def test_every_input_that_is_refused_is_documented() -> None:
    assert set(REFUSED_INPUTS) <= NAMES
