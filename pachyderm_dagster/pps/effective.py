"""From what a user wrote to the effective specification: laid upon the defaults by JSON merge patch (RFC 7396), then read."""

import functools
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pachyderm_dagster.pps.merge_patches import merge_patch
from pachyderm_dagster.pps.spec import PipelineName, PipelineSpec, UserSpec
from pachyderm_dagster.pps.spec_reading import read_spec
from pachyderm_dagster.pps.strict import OtherNames, Place, field_names, without_none
from pachyderm_dagster.pps.vocabulary import OTHER_NAMES


def effective_spec(user: UserSpec, bodies: Sequence[Mapping[str, Any]]) -> PipelineSpec:
    """The complete specification of a pipeline.

    Args:
        bodies: defaults, the more general first; the user's has the last word.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    written = json.loads(user.document)
    layers = [in_our_names(PipelineSpec, layer) for layer in (*bodies, written)] if bodies else [written]
    merged: Any = functools.reduce(merge_patch, layers, {})
    where = f"pipeline '{user.pipeline.name}'" + (", with the defaults (`pachctl inspect defaults` shows them)" if bodies else "")
    return read_spec(merged, Place(where), [])


def in_our_names(kind: Any, value: Any) -> Any:
    """A plain value with its struct's own field names in place of other spellings and older names, so that one field is one key.

    Whatever has another shape stays as it is, to be refused where it is read. Inputs stay too: no defaults name them.
    """
    kind = without_none(kind)
    if not isinstance(value, dict) or not isinstance(kind, type) or not issubclass(kind, msgspec.Struct) or kind is PipelineName:
        return value
    hints, others = typing.get_type_hints(kind, include_extras=True), OTHER_NAMES.get(kind, OtherNames())
    spellings = field_names(kind, others)
    found = {}
    for key, item in value.items():
        own = str(spellings.get(key, key))
        name, convert = others.renamed.get(own, (own, None))
        converted = convert(item) if convert is not None and item is not None else item
        found[name] = in_our_names(hints.get(name), converted)
    return found
