"""What nodes are called: their names, ids and pods, as Argo makes them."""

import re
from collections.abc import Sequence
from typing import Any

from pachyderm_dagster.argo.go_values import printed, scalar_text

_FNV_OFFSET, _FNV_PRIME, _FNV_SIZE = 2166136261, 16777619, 2**32
_LONGEST_POD_PREFIX = 253 - 11
_LONGEST_GENERATED = 58
_NOT_OF_REPOS = re.compile(r"[^A-Za-z0-9_-]")
_HOOK = re.compile(r"\.(onExit|hooks\.[^.\[(]+)($|[.\[(])")


def fnv1a_32(text: str) -> int:
    """The 32-bit FNV-1a hash of a text."""
    value = _FNV_OFFSET
    for byte in text.encode():
        value = (value ^ byte) * _FNV_PRIME % _FNV_SIZE
    return value


def generated_name(prefix: str, random_hex: str) -> str:
    """A name that begins with a prefix, of which 58 characters are kept, and five more characters."""
    return prefix[:_LONGEST_GENERATED] + random_hex[:5]


def name_in_repos(name: str) -> str:
    """What stands for an object in the name of a repo, which has no dots: something else for each object, for the names of objects have no `_`."""
    return _NOT_OF_REPOS.sub("-", name.replace(".", "_"))


def node_id(workflow: str, name: str) -> str:
    """The id of the node called `name`."""
    return workflow if name == workflow else f"{workflow}-{fnv1a_32(name)}"


def pod_name(workflow: str, name: str, template: str) -> str:
    """The pod of the node called `name`, which runs `template`."""
    if name == workflow:
        return workflow
    prefix = f"{workflow}-{template}" if template else workflow
    return f"{prefix[:_LONGEST_POD_PREFIX]}-{fnv1a_32(name)}"


def step_name(parent: str, group: int, step: str) -> str:
    """A step in a group of the node `parent`."""
    return f"{group_name(parent, group)}.{step}"


def group_name(parent: str, group: int) -> str:
    """A group of steps of the node `parent`."""
    return f"{parent}[{group}]"


def task_name(parent: str, task: str) -> str:
    """A task of the graph that is the node `parent`."""
    return f"{parent}.{task}"


def item_suffix(index: int, item: Any) -> str:
    """What the name of one of several has at its end: `(0:apple)`."""
    return f"({index}:{_description(item)})"


def _description(item: Any) -> str:
    match item:
        case dict():
            text = ",".join(f"{key}:{printed(item[key])}" for key in sorted(item))
        case list() | tuple():
            text = printed(item)
        case _:
            text = scalar_text(item)
    return text.replace("(", "").replace(")", "")


def attempt_name(name: str, attempt: int) -> str:
    """An attempt of a node that is tried again, counted from 0."""
    return f"{name}({attempt})"


def hook_name(name: str, hook: str) -> str:
    """The node of a hook of the node `name`."""
    return f"{name}.onExit" if hook == "exit" else f"{name}.hooks.{hook}"


def is_hook(name: str) -> bool:
    """Whether a node is that of a hook, or below one."""
    return _HOOK.search(name) is not None


def joined(names: Sequence[str]) -> str:
    """Names for a message."""
    return ", ".join(map(repr, names)) or "none"
