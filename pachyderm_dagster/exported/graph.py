"""What exported pipelines read, of one another and from outside, and the order in which they run."""

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.exported.names import parameter_names, task_names
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, BranchName, RepoName
from pachyderm_dagster.pps.inputs import leaves
from pachyderm_dagster.pps.spec import PipelineSpec


@dataclass(frozen=True, slots=True)
class Step:
    """One pipeline of an export.

    Args:
        word: that names its tasks.
        reads: the branches that it reads, each with the parameter that names its commit.
        made_by: of those that other pipelines of the export make, the words of these.
    """

    name: RepoName
    spec: PipelineSpec
    word: str
    reads: Mapping[BranchName, str]
    made_by: Mapping[BranchName, str]

    @property
    def read_outside(self) -> Mapping[BranchName, str]:
        """Those of `reads` whose commits somebody else makes."""
        return {branch: parameter for branch, parameter in self.reads.items() if branch not in self.made_by}


def plan_steps(specs: Sequence[PipelineSpec], project: str) -> list[Step]:
    """The pipelines in the order in which they run; `project` is that of names without one.

    Raises:
        InvalidError: `export-invalid`, for none, for the same one twice, and for a circle.
    """
    by_name = {spec.pipeline.in_project(project): spec for spec in specs}
    if not specs or len(by_name) < len(specs):
        raise InvalidError("export-invalid", "an export is of one pipeline or of several different ones; name each once")
    reads = {name: read_branches(spec, name.project) for name, spec in by_name.items()}
    writers = {BranchName(name, spec.output_branch): name for name, spec in by_name.items()}
    sorter = graphlib.TopologicalSorter({name: [writers[branch] for branch in reads[name] if branch in writers] for name in by_name})
    try:
        order = list(sorter.static_order())
    except graphlib.CycleError as error:
        raise InvalidError("export-invalid", f"pipelines read one another in a circle: {' -> '.join(map(str, error.args[1]))}; no run can do that") from error
    words = task_names(order)
    parameters = parameter_names(dict.fromkeys(branch for name in order for branch in reads[name]), project)
    return [
        Step(
            name,
            by_name[name],
            words[name],
            {branch: parameters[branch] for branch in reads[name]},
            {branch: words[writers[branch]] for branch in reads[name] if branch in writers},
        )
        for name in order
    ]


def read_outside(specs: Sequence[PipelineSpec], *, project: str = DEFAULT_PROJECT) -> list[BranchName]:
    """The branches whose commits are parameters of an export. Errors as `plan_steps`."""
    return list(dict.fromkeys(branch for step in plan_steps(specs, project) for branch in step.read_outside))


def read_branches(spec: PipelineSpec, project: str) -> list[BranchName]:
    """The branches that a pipeline reads, each once, in the order of its specification."""
    return list(dict.fromkeys(BranchName(leaf.repo_name(project), leaf.branch) for leaf in leaves(spec.input)))
