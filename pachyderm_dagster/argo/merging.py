"""Strategic merges: plain documents over one another as Kubernetes puts them, lists of named things by their names."""

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec

Document: TypeAlias = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)
_PATCH = "$patch"
LIST_KEYS: Mapping[str, str] = {
    "artifacts": "name",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "parameters": "name",
    "ports": "containerPort",
    "sidecars": "name",
    "templates": "name",
    "tolerations": "key",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""The fields whose lists are of things that have a key, and that key; other lists take the place of what was there."""


def merged_structs(below: S, above: S, *, leave_out: Collection[str] = ()) -> S:
    """A struct over another one of its kind, of which some fields are left out."""
    under = {name: value for name, value in _document(below).items() if name not in leave_out}
    return msgspec.convert(merged(under, _document(above)), type(above))


def _document(struct: msgspec.Struct) -> Document:
    found: Document = msgspec.json.decode(msgspec.json.encode(struct))
    return found


def merged(below: Document, above: Document) -> Document:
    """A document over another one. Null takes a field away; `$patch` with `delete` or `replace` does that to an item or an object."""
    found = dict(below)
    for name, value in above.items():
        if name == _PATCH:
            continue
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict):
            under = found.get(name)
            found[name] = merged(under if isinstance(under, dict) and value.get(_PATCH) != "replace" else {}, value)
        elif isinstance(value, list) and name in LIST_KEYS and isinstance(found.get(name), list):
            found[name] = _merged_lists(found[name], value, LIST_KEYS[name])
        else:
            found[name] = value
    return found


def _merged_lists(below: list[Any], above: list[Any], key: str) -> list[Any]:
    if not all(isinstance(one, dict) and key in one for one in (*below, *above)):
        return above
    found = {one[key]: one for one in below}
    for one in above:
        if one.get(_PATCH) == "delete":
            found.pop(one[key], None)
        else:
            found[one[key]] = merged(found.get(one[key], {}), one)
    return list(found.values())
