"""What a pipeline reads: branches and clocks, crossed, united, joined and grouped."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, TypeAlias

import msgspec

from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, RepoName, Trigger

ByteCount: TypeAlias = Annotated[int, "bytes"]


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is put together into one datum, at most. 0: not set; with both set, what is reached first counts."""

    files: int = 0
    """So many matches of the glob."""
    bytes: ByteCount = 0
    """So much in their files, such as `1GB` or `512MiB`."""


class PropagationSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a commit on the branch starts."""

    never: bool = False
    """None: a job that starts for another reason reads the head."""


class TriggerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What moves the branch that is read.

    The fields are those of `pfs.model.Trigger`.
    """

    branch: str = DEFAULT_BRANCH
    """The branch that is followed."""
    all: bool = False
    """All conditions have to hold, not any one."""
    size: str = ""
    """So much was added, such as `100M`."""
    commits: int = 0
    """So many commits were made."""
    rate_limit_spec: str = ""
    """The last time is longer ago than this schedule allows."""
    cron_spec: str = ""
    """A schedule of its own; the other conditions do not count then."""

    def trigger(self) -> Trigger:
        """The trigger of the branch."""
        return Trigger(**msgspec.structs.asdict(self))


class PfsInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="pfs"):
    """A branch of a repo; each match of `glob` is a datum's share."""

    name: str
    """The folder below `/pfs`, and the variable that holds the datum's path. No blanks, `/` or `=`, and none of `out`, `.env`, `.scratch`."""
    repo: str
    """What is read."""
    glob: str
    """What is a datum: each match is one, or a share of one."""
    branch: str = DEFAULT_BRANCH
    """Of the repo; it may not exist yet."""
    project: str | None = None
    """Of the repo."""
    empty_files: bool = False
    """The files are there with their names, without their content."""
    lazy: bool = False
    """The files are named pipes, which are filled when they are opened."""
    join_on: str = ""
    """The key of a file below a join: a text in which `$1` is what the glob's first group captured."""
    outer_join: bool = False
    """Below a join: a file whose key another member lacks is a datum without that member."""
    group_by: str = ""
    """The key of a file below a group, as `join_on`."""
    reference: bool = False
    """The content does not count: when only that changes, no datum runs again."""
    batch: Batch | None = None
    """Several matches of the glob, neighbours by path, are one datum."""
    trigger: TriggerSpec | None = None
    """The branch follows another one of its repo."""
    propagation_spec: PropagationSpec | None = None
    """What a commit on the branch starts."""

    def repo_name(self, pipeline_project: str) -> RepoName:
        """The repo it reads, when its pipeline is in `pipeline_project`."""
        return RepoName(self.project or pipeline_project, self.repo)


class CronInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="cron"):
    """A clock: each tick commits an empty file, named after its time, to a repo of the pipeline's own."""

    name: str
    """The folder below `/pfs`, and the variable that holds the tick's path."""
    spec: str
    """Five fields, in UTC, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, `@every 1h30m`, `@never`."""
    repo: str
    """Where ticks are committed; made with the pipeline."""
    start: dt.datetime | None = None
    """The schedule counts from here, and ticks since then are made up for."""
    overwrite: bool = False
    """A tick removes those before it, so that a job has one datum."""

    # What a clock cannot have.
    lazy: ClassVar[bool] = False
    join_on: ClassVar[str] = ""
    outer_join: ClassVar[bool] = False
    group_by: ClassVar[str] = ""
    reference: ClassVar[bool] = False
    batch: ClassVar[None] = None
    trigger: ClassVar[None] = None
    propagation_spec: ClassVar[None] = None

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


class JoinInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="join"):
    """For every key that all members have, a datum for every combination of one file from each."""

    members: tuple["Input", ...]


class GroupInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="group"):
    """For every key a datum with all files that have it."""

    members: tuple["Input", ...]


Leaf: TypeAlias = PfsInput | CronInput
SetInput: TypeAlias = CrossInput | UnionInput | JoinInput | GroupInput
Input: TypeAlias = PfsInput | CronInput | CrossInput | UnionInput | JoinInput | GroupInput

SET_INPUTS: Mapping[str, type[SetInput]] = {"cross": CrossInput, "union": UnionInput, "join": JoinInput, "group": GroupInput}
"""By the key that a spec has for them."""


def leaves(input: Input | None) -> tuple[Leaf, ...]:
    """The branches and clocks of an input, in the order of the spec; none of a pipeline without one."""
    return () if input is None else tuple(_walk(input))


def leaf_key(leaf: Leaf) -> str:
    """Names what a leaf reads: leaves with the same key have the same files and give the same datums."""
    place = f"{leaf.name}={leaf.project or ''}/{leaf.repo}@{leaf.branch}:{leaf.glob}{':empty' if leaf.empty_files else ''}"
    further = leaf.join_on, leaf.outer_join, leaf.group_by, leaf.reference, leaf.batch, leaf.lazy
    return f"{place}:{further}" if any(further) else place


def sorted_input(input: Input) -> Input:
    """The input with the members of every set in the order of their names, so that the order in the spec decides nothing."""
    match input:
        case PfsInput() | CronInput():
            return input
        case CrossInput() | UnionInput() | JoinInput() | GroupInput():
            members = sorted((sorted_input(member) for member in input.members), key=_first_name)
            return type(input)(tuple(members))


def find_repeated_name(input: Input) -> str | None:
    """A name that two inputs of one datum share, or None. Members of one union may share a name: no datum has files of both."""
    return _names(input)[1]


def _walk(input: Input) -> Iterator[Leaf]:
    match input:
        case PfsInput() | CronInput():
            yield input
        case CrossInput() | UnionInput() | JoinInput() | GroupInput():
            for member in input.members:
                yield from _walk(member)


def _first_name(input: Input) -> str:
    return next(_walk(input)).name


def _names(input: Input) -> tuple[frozenset[str], str | None]:
    match input:
        case PfsInput() | CronInput():
            return frozenset({input.name}), None
        case CrossInput() | UnionInput() | JoinInput() | GroupInput():
            seen: frozenset[str] = frozenset()
            for member in input.members:
                names, repeated = _names(member)
                if repeated is None and not isinstance(input, UnionInput):
                    repeated = min(seen & names, default=None)
                if repeated is not None:
                    return seen, repeated
                seen |= names
            return seen, None
