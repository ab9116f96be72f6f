"""The transport `importer`: what pipelines read from outside are artifacts that Kubeflow imports, with repo, branch and commit noted on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.exported.graph import Step
from pachyderm_dagster.kubeflow import ir
from pachyderm_dagster.kubeflow.ir import Document
from pachyderm_dagster.kubeflow.options import Options, Transport
from pachyderm_dagster.kubeflow.published import artifact_uri, check_root
from pachyderm_dagster.kubeflow.tasks import Parts
from pachyderm_dagster.pfs.model import BranchName

ARTIFACT = "artifact"
"""What Kubeflow calls the output of an importer."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A branch whose commit is imported.

    Args:
        commit: the parameter that names it.
    """

    branch: BranchName
    commit: str

    @property
    def uri(self) -> str:
        """The parameter that names where its files are."""
        return f"{self._base}_uri"

    @property
    def files(self) -> str:
        """The artifact, as an input of tasks."""
        return f"{self._base}_files"

    @property
    def task(self) -> str:
        """The task that imports it."""
        return f"import-{self._base.lower().replace('_', '-')}"

    @property
    def _base(self) -> str:
        return self.commit.removesuffix("_commit")


def imports_of(step: Step, options: Options) -> list[Imported]:
    """What a pipeline reads of what is imported, in the order in which its files are numbered."""
    if options.transport is not Transport.IMPORTER:
        return []
    return [Imported(branch, parameter) for branch, parameter in step.read_outside.items()]


def around(steps: Sequence[Step], options: Options) -> Parts:
    """What imports, once for all pipelines.

    Raises:
        InvalidError: `export-invalid`, for a branch without a commit; `artifact-root-invalid`.
    """
    root = check_root(options.artifact_root)
    found = Parts()
    for one in dict.fromkeys(one for step in steps for one in imports_of(step, options)):
        if one.branch not in options.commits:
            raise InvalidError("export-invalid", f"no commit of '{one.branch}' is named, and what is imported is written before; export it without --head")
        uri = artifact_uri(root, one.branch.repo, options.commits[one.branch])
        found.parameters[one.uri] = ir.parameter(default=uri, description=f"Where the files of that commit of {one.branch.repo} are")
        given = {"uri": ir.from_pipeline(one.uri), "commit": ir.from_pipeline(one.commit)}
        found.tasks[one.task] = ir.task(one.task, f"comp-{one.task}", title=f"import {one.branch.repo.name}", parameters=given)
        found.components[f"comp-{one.task}"] = importing_component(f"exec-{one.task}")
        found.executors[f"exec-{one.task}"] = importer({"repo": str(one.branch.repo), "branch": one.branch.name})
    return found


def importing_component(executor: str, *more: str) -> Document:
    """The component of an importer of a commit, with further parameters."""
    parameters = {name: ir.parameter() for name in ("uri", "commit", *more)}
    return ir.component(executor, ir.definitions(parameters, {}), ir.definitions({}, {ARTIFACT: ir.dataset()}))


def importer(metadata: Document) -> Document:
    """The executor that imports what its parameter `uri` names, and notes this on it, and the parameter `commit`."""
    noted = {**metadata, "commit": ir.input_parameter("commit")}
    return {"importer": {"artifactUri": {"runtimeParameter": "uri"}, "metadata": noted, "typeSchema": dict(ir.DATASET)}}
