"""What `apply` makes of an object: what was applied before and is not any more goes, what others set stays."""

from typing import Any

from pachyderm_dagster.argo.merging import LIST_KEYS, Document, merged


def applied(there: Document, before: Document, manifest: Document) -> Document:
    """The object as it is after a manifest was applied.

    Args:
        there: as it is now.
        before: the manifest that was applied last.
    """
    return merged(merged(there, _removal(before, manifest)), manifest)


def _removal(before: Document, after: Document) -> Document:
    """A patch that takes away what `before` has and `after` has not."""
    found: Document = {}
    for name, value in before.items():
        if name not in after:
            found[name] = None
        elif isinstance(value, dict) and isinstance(after[name], dict):
            found[name] = _removal(value, after[name])
        elif name in LIST_KEYS and isinstance(value, list) and isinstance(after[name], list):
            found[name] = _removal_of_items(value, after[name], LIST_KEYS[name])
    return {name: value for name, value in found.items() if value != {} and value != []}


def _removal_of_items(before: list[Any], after: list[Any], key: str) -> list[Any]:
    if not all(isinstance(one, dict) and key in one for one in (*before, *after)):
        return []
    there = {one[key]: one for one in after}
    gone = [{key: one[key], "$patch": "delete"} for one in before if one[key] not in there]
    changed = [(one[key], _removal(one, there[one[key]])) for one in before if one[key] in there]
    return [*gone, *({key: name, **removal} for name, removal in changed if removal)]
