"""What a pipeline reads: branches and clocks, crossed and united."""

import datetime as dt
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, RepoName


class PfsInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="pfs"):
    """A branch of a repo; each match of `glob` is a datum's share."""

    name: str
    """Directory below /pfs, and the environment variable that holds the datum's path."""
    repo: str
    glob: str
    branch: str = DEFAULT_BRANCH
    project: str | None = None
    """None: the pipeline's."""
    empty_files: bool = False
    """The datum's files are there with their names, without their content."""

    def repo_name(self, pipeline_project: str) -> RepoName:
        """The repo it reads, when its pipeline is in `pipeline_project`."""
        return RepoName(self.project or pipeline_project, self.repo)


class CronInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="cron"):
    """A clock: each tick commits an empty file, named after its time, to a repo of the pipeline's own."""

    name: str
    spec: str
    repo: str
    start: dt.datetime | None = None
    """The schedule counts from here; None: from the pipeline's creation."""
    overwrite: bool = False
    """Each tick removes the files of earlier ticks."""

    @property
    def glob(self) -> str:
        """Every tick file is a datum's share."""
        return "/*"

    @property
    def branch(self) -> str:
        """Where the ticks are committed."""
        return DEFAULT_BRANCH

    @property
    def project(self) -> None:
        """A tick repo is in its pipeline's project."""
        return

    @property
    def empty_files(self) -> bool:
        """Tick files are empty already."""
        return False

    def repo_name(self, pipeline_project: str) -> RepoName:
        """The repo of its ticks, when its pipeline is in `pipeline_project`."""
        return RepoName(pipeline_project, self.repo)


class CrossInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="cross"):
    """A datum for every combination of its members' datums."""

    members: tuple["Input", ...]


class UnionInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="union"):
    """The datums of one member after those of the other."""

    members: tuple["Input", ...]


Leaf: TypeAlias = PfsInput | CronInput
Input: TypeAlias = PfsInput | CronInput | CrossInput | UnionInput


def leaves(input: Input) -> tuple[Leaf, ...]:
    """The branches and clocks of an input, in the order of the spec."""
    return tuple(_walk(input))


def leaf_key(leaf: Leaf) -> str:
    """Names what a leaf reads: leaves with the same key have the same files and give the same datums."""
    return f"{leaf.name}={leaf.project or ''}/{leaf.repo}@{leaf.branch}:{leaf.glob}{':empty' if leaf.empty_files else ''}"


def sorted_input(input: Input) -> Input:
    """The input with the members of every cross and union in the order of their names, so that the order in the spec decides nothing."""
    match input:
        case PfsInput() | CronInput():
            return input
        case CrossInput() | UnionInput():
            members = sorted((sorted_input(member) for member in input.members), key=_first_name)
            return type(input)(tuple(members))


def find_repeated_name(input: Input) -> str | None:
    """A name that two inputs of one datum share, or None. Members of one union may share a name: no datum has files of both."""
    return _names(input)[1]


def _walk(input: Input) -> Iterator[Leaf]:
    match input:
        case PfsInput() | CronInput():
            yield input
        case CrossInput() | UnionInput():
            for member in input.members:
                yield from _walk(member)


def _first_name(input: Input) -> str:
    return next(_walk(input)).name


def _names(input: Input) -> tuple[frozenset[str], str | None]:
    match input:
        case PfsInput() | CronInput():
            return frozenset({input.name}), None
        case CrossInput() | UnionInput():
            seen: frozenset[str] = frozenset()
            for member in input.members:
                names, repeated = _names(member)
                if repeated is None and isinstance(input, CrossInput):
                    repeated = min(seen & names, default=None)
                if repeated is not None:
                    return seen, repeated
                seen |= names
            return seen, None
