"""What holds between the inputs of one pipeline: the rules for names and keys, and the names that it gives itself."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from pachyderm_dagster.pps.inputs import CronInput, GroupInput, Input, JoinInput, Leaf, PfsInput, find_repeated_name, leaves
from pachyderm_dagster.pps.strict import Place


def check_input(input: Input, place: Place) -> None:
    """Does nothing when the inputs fit together.

    Raises:
        InvalidError: `spec-invalid`.
    """
    repeated = find_repeated_name(input)
    if repeated is not None:
        raise place.invalid(f"two inputs have the name {repeated!r}; give one of them another 'name' (only members of one union may share it)")
    references: dict[tuple[str, str | None, str, str], bool] = {}
    for leaf in leaves(input):
        if references.setdefault((leaf.name, leaf.project, leaf.repo, leaf.branch), leaf.reference) != leaf.reference:
            raise place.invalid(f"{leaf.name!r} is read twice from one branch, and only once as a 'reference'; say it both times, or give one another 'name'")
    for leaf, within in _with_sets(input, frozenset()):
        for kind, field, template in ((JoinInput, "join_on", leaf.join_on), (GroupInput, "group_by", leaf.group_by)):
            if kind in within and isinstance(leaf, CronInput):
                raise place.invalid(
                    f"{leaf.name!r} is a clock, whose ticks have no key, and stands below a 'join' or 'group'; put it beside that, with 'cross'"
                )
            if kind in within and not template:
                raise place.invalid(f"{leaf.name!r} needs a {field!r} to have a key, as {field}: '$1' with the glob '/(*).csv'")
        if leaf.outer_join and JoinInput not in within:
            raise place.invalid(f"{leaf.name!r} has 'outer_join' and is in no 'join'; remove it")
        if leaf.batch is not None and within:
            raise place.invalid(f"{leaf.name!r} has a 'batch' below a 'join' or 'group', where keys decide which files go together; remove it")
        if leaf.trigger is not None and leaf.trigger.branch == leaf.branch:
            raise place.invalid(f"{leaf.name!r} reads branch {leaf.branch!r}, which cannot follow itself; leave out 'branch', or name another 'trigger.branch'")


def with_defaults(input: Input, pipeline: str) -> Input:
    """The input with the names that follow from the pipeline's.

    Those of tick repos are `<pipeline>_<input>`, those of branches that a trigger moves `<pipeline>-trigger-<n>`, counted from 1 in each repo.
    """
    counted: Counter[tuple[str | None, str]] = Counter()

    def named(input: Input) -> Input:
        match input:
            case CronInput(repo=""):
                return msgspec.structs.replace(input, repo=f"{pipeline}_{input.name}")
            case PfsInput(branch=""):
                counted[input.project, input.repo] += 1
                return msgspec.structs.replace(input, branch=f"{pipeline}-trigger-{counted[input.project, input.repo]}")
            case PfsInput() | CronInput():
                return input
            case _:
                return type(input)(tuple(named(member) for member in input.members))

    return named(input)


def _with_sets(input: Input, within: frozenset[type[Input]]) -> Iterator[tuple[Leaf, frozenset[type[Input]]]]:
    """Each leaf with the kinds among join and group that it stands below."""
    match input:
        case PfsInput() | CronInput():
            yield input, within
        case _:
            inside = within | ({type(input)} & {JoinInput, GroupInput})
            for member in input.members:
                yield from _with_sets(member, inside)
