"""Whether what a run pins is something that it reads: a pin that is misspelt would have it read the newest commit, silently."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.asset_branches import pin_tag


def read_assets(layer: Any) -> frozenset[dg.AssetKey]:
    """The assets that the steps of a run read.

    Args:
        layer: what the run's job knows of its assets.
    """
    return frozenset(parent for key in layer.selected_asset_keys for parent in layer.asset_graph.get(key).parent_keys)


def check_tags(tags: Mapping[str, str], read: Iterable[dg.AssetKey]) -> None:
    """Refuses tags that pin what a run does not read. Raises InvalidError `pin-invalid`."""
    known = {pin_tag(key) for key in read}
    _check("run tag", [tag for tag in tags if tag.startswith(labels.PIN_PREFIX)], known)


def check_pins(pins: Iterable[str], read: Iterable[dg.AssetKey]) -> None:
    """Refuses pins in a run's configuration of an IO manager, by asset key, of what it does not read. Raises InvalidError `pin-invalid`."""
    _check("pin", pins, {key.to_user_string() for key in read})


def _check(what: str, given: Iterable[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            those = f"what it reads is pinned by {', '.join(map(repr, sorted(known)))}" if known else "it reads nothing that can be pinned"
            raise InvalidError("pin-invalid", f"{what} {name!r} pins nothing that this run reads; {those}")
