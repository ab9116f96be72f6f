"""Label selectors as objects of Kubernetes have them: which pods `podGC` is for."""

from collections.abc import Mapping

import msgspec

from pachyderm_dagster.argo.parameters import Text, Texts

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


class LabelRequirement(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a label has to be."""

    key: str
    """The key of the label."""
    operator: str
    """`In`, `NotIn`, `Exists`, `DoesNotExist`."""
    values: Texts = ()
    """Of `In` and `NotIn`: these."""


class LabelSelector(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Those with labels for which all of this holds."""

    match_labels: dict[str, Text] = {}
    """Labels with their values."""
    match_expressions: tuple[LabelRequirement, ...] = ()
    """What labels have to be beside that."""


def selects(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Whether something with these labels is meant; everything is without a selector."""
    if selector is None:
        return True
    return selector.match_labels.items() <= labels.items() and all(_holds(one, labels) for one in selector.match_expressions)


def _holds(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case _:
            return value is None
