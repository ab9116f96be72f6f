"""Which pipelines depend on which, told from what they read alone."""

from collections.abc import Collection, Mapping

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import RepoName


def refuse_cycles(reads: Mapping[RepoName, Collection[RepoName]]) -> None:
    """Does nothing when none of the pipelines needs its own output, by itself or by others.

    Args:
        reads: which repos each pipeline reads.

    Raises:
        InvalidError: `provenance-cycle`.
    """
    for name in reads:
        refuse_cycle_of(reads, name)


def refuse_cycle_of(reads: Mapping[RepoName, Collection[RepoName]], name: RepoName) -> None:
    """Does nothing when one of the pipelines does not need its own output. Args, errors: as `refuse_cycles`."""
    if name in reads[name]:
        raise InvalidError("provenance-cycle", f"pipeline '{name}' would read its own output; read another repo")
    for repo in reads[name]:
        if repo in reads:
            refuse_way(reads, repo, name)


def refuse_way(reads: Mapping[RepoName, Collection[RepoName]], start: RepoName, end: RepoName) -> None:
    """Does nothing when pipeline `start`, which `end` reads, does not need the output of that. Raises InvalidError `provenance-cycle`."""
    way = _way(reads, start, end)
    if way:
        said = ", ".join(f"'{one}' reads '{other}'" for one, other in zip([end, *way], way, strict=False))
        raise InvalidError("provenance-cycle", f"pipelines depend on each other: {said}; let one of them read another repo")


def writers_first(reads: Mapping[RepoName, Collection[RepoName]]) -> list[RepoName]:
    """The same pipelines, each after those whose output it reads; a cycle is left to whoever makes them to refuse."""
    ordered: dict[RepoName, None] = {}
    for name in reads:
        waiting, seen = [name], {name}
        while waiting:
            before = [repo for repo in reads[waiting[-1]] if repo in reads and repo not in seen]
            seen.update(before[:1])
            if before:
                waiting.append(before[0])
            else:
                ordered.setdefault(waiting.pop())
    return list(ordered)


def _way(reads: Mapping[RepoName, Collection[RepoName]], start: RepoName, end: RepoName) -> list[RepoName]:
    """Pipelines from one to another, each of which reads the next; none when there is no such way."""
    ways = [[start]]
    seen = {start}
    for way in ways:
        for repo in reads[way[-1]]:
            if repo == end:
                return [*way, end]
            if repo in reads and repo not in seen:
                seen.add(repo)
                ways.append([*way, repo])
    return []
