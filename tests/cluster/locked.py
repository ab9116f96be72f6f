"""The lock as what a part of the project needs of it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.cluster.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Locked:
    """A package of the lock: its lines as pip reads them, and who asked for it."""

    requirement: str
    asked_by: frozenset[str]


def read_lock(text: str) -> Mapping[str, Locked]:
    """The packages of a requirements file that uv wrote, by name."""
    found: dict[str, Locked] = {}
    for block in re.split(r"\n(?=[a-z0-9])", text.strip()):
        lines = block.splitlines()
        name = re.split(r"[=\[ ;@]", lines[0])[0]
        comments = " ".join(line.strip(" #") for line in lines if line.lstrip().startswith("#"))
        asked_by = frozenset(word for word in comments.removeprefix("via").split() if word != "(pyproject.toml)")
        found[name] = Locked("\n".join(line for line in lines if not line.lstrip().startswith("#")), asked_by)
    return found


def needed(lock: Mapping[str, Locked], names: Iterable[str]) -> list[str]:
    """Those packages and whatever they need in turn, as lines for pip, in the lock's order."""
    found = set(names)
    if missing := sorted(found - set(lock)):
        raise ClusterError(
            f"the lock has no package {', '.join(missing)}; take the name out of tests/cluster/images.py, or add it to pyproject.toml and call 'make lock'"
        )
    more = True
    while more:
        asked = {name for name, locked in lock.items() if locked.asked_by & found}
        more = not asked <= found
        found |= asked
    return [locked.requirement for name, locked in lock.items() if name in found]
