"""Components for pipelines that people write themselves, files that kfp loads: `pfs_head`, `pfs_get`, `pfs_put`, `pfs_diff`, `pfs_dataset`.

Each is a graph of one task: kfp keeps what Kubernetes is told of graphs, and whether their tasks may come from the cache, and drops both of a container.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.kubeflow import ir
from pachyderm_dagster.kubeflow.importing import ARTIFACT, importer, importing_component
from pachyderm_dagster.kubeflow.ir import Document
from pachyderm_dagster.kubeflow.options import DEFAULT_HOME_SECRET, DEFAULT_IMAGE
from pachyderm_dagster.kubeflow.pods import home_pod
from pachyderm_dagster.kubeflow.tasks import HOME_RETRIES, PROGRAM

_MADE_FROM = "The commits that it was made from, for pfs_put"


@dataclass(frozen=True, slots=True)
class _Component:
    description: str
    command: str
    inputs: Mapping[str, Document]
    outputs: Mapping[str, Document]
    options: Mapping[str, str]
    """By option the input parameter that it gets."""
    reads: bool = False
    """Whether the artifact is what it reads, not what it makes."""
    artifact: bool = True
    cached: bool = True


_COMPONENTS: Mapping[str, _Component] = {
    "pfs_head": _Component(
        "The id of the newest commit of a branch, looked up in every run.",
        "head",
        {
            "repo": ir.parameter(description="The repo, with PROJECT/ before it for another project than default"),
            "branch": ir.parameter(default="master", description="The branch"),
        },
        {"commit": ir.parameter(description="The id of the commit")},
        {"--repo": "repo", "--branch": "branch"},
        artifact=False,
        cached=False,
    ),
    "pfs_get": _Component(
        "Files of a commit as an artifact, under their paths in the repo.",
        "get",
        {
            "repo": ir.parameter(description="The repo, with PROJECT/ before it for another project than default"),
            "commit": ir.parameter(description="The id of a commit, such as that of pfs_head"),
            "branch": ir.parameter(default="master", description="The branch through which it is read"),
            "path": ir.parameter(default="/", description="A file, a directory or a pattern"),
            "made_from": ir.parameter(default="", description="made_from of another pfs_get: commits that are told together with this one"),
        },
        {
            "commit": ir.parameter(description="The id of the commit that was read"),
            "made_from": ir.parameter(description=_MADE_FROM),
            "files": ir.parameter("NUMBER_INTEGER", description="How many files"),
        },
        {"--repo": "repo", "--commit": "commit", "--branch": "branch", "--path": "path", "--made-from": "made_from"},
    ),
    "pfs_put": _Component(
        "An artifact as a commit, which is all that the branch then holds; the same content made from the same commits is the same commit.",
        "put",
        {
            "repo": ir.parameter(description="The repo, which is made when missing"),
            "branch": ir.parameter(default="master", description="The branch, which is made when missing"),
            "made_from": ir.parameter(default="", description="made_from of pfs_get or pfs_diff: the commits that it was made from"),
            "description": ir.parameter(default="", description="Of the commit"),
        },
        {"commit": ir.parameter(description="The id of the commit"), "made_from": ir.parameter(description="That commit, as what something else is made from")},
        {"--repo": "repo", "--branch": "branch", "--made-from": "made_from", "--description": "description"},
        reads=True,
        cached=False,
    ),
    "pfs_diff": _Component(
        "What a commit has that another has not or has otherwise: the files below files/, and all changes in changes.json.",
        "diff",
        {
            "repo": ir.parameter(description="The repo, with PROJECT/ before it for another project than default"),
            "new": ir.parameter(description="The id of the newer commit, such as that of pfs_head"),
            "old": ir.parameter(default="", description="The id of the older commit; the one that the newer one changed when empty"),
            "branch": ir.parameter(default="master", description="The branch through which they are read"),
            "path": ir.parameter(default="/", description="A file or a directory"),
        },
        {
            "commit": ir.parameter(description="The id of the newer commit"),
            "made_from": ir.parameter(description=_MADE_FROM),
            "is_different": ir.parameter("BOOLEAN", description="Whether there is a difference"),
            "added": ir.parameter("NUMBER_INTEGER", description="How many files were added"),
            "changed": ir.parameter("NUMBER_INTEGER", description="How many files have other content"),
            "deleted": ir.parameter("NUMBER_INTEGER", description="How many files are gone"),
        },
        {"--repo": "repo", "--new": "new", "--old": "old", "--branch": "branch", "--path": "path"},
    ),
}
IMPORTING = "pfs_dataset"
COMPONENT_NAMES = (*_COMPONENTS, IMPORTING)


def component_yaml(name: str, *, image: str = DEFAULT_IMAGE, home_secret: str = DEFAULT_HOME_SECRET) -> str:
    """The file of a component, for `kfp.components.load_component_from_text`.

    Args:
        image: with this package.
        home_secret: the Secret whose keys are the variables that open the home.

    Raises:
        NotFoundError: `component-not-found`.
    """
    if name == IMPORTING:
        return _importing()
    if name not in _COMPONENTS:
        raise NotFoundError("component-not-found", f"there is no component {name!r}; there are {', '.join(COMPONENT_NAMES)}")
    found = _COMPONENTS[name]
    task, title = found.command, name.replace("_", "-")
    path = (ir.input_path if found.reads else ir.output_path)("data")
    words = [part for option, parameter in found.options.items() for part in (option, ir.input_parameter(parameter))]
    data = ["--data", path] if found.artifact else []
    executor = ir.container(image, [PROGRAM, "kubeflow", found.command], [*words, *data, "--executor-input", ir.EXECUTOR_INPUT])
    given = {"data": ir.any_artifact("The files, or the file")} if found.reads else {}
    made = {"data": ir.dataset(description="The files")} if found.artifact and not found.reads else {}
    inputs, outputs = ir.definitions(found.inputs, given), ir.definitions(found.outputs, made)
    pipeline = ir.pipeline(
        title,
        found.description,
        inputs=inputs,
        tasks={task: _only_task(task, found)},
        components={f"comp-{task}": ir.component(f"exec-{task}", inputs, outputs)},
        executors={f"exec-{task}": executor},
        outputs=outputs,
        results=_results(task, found),
    )
    return ir.to_yaml(pipeline, ir.platform({f"exec-{task}": home_pod(home_secret)}))


def _importing() -> str:
    """Imports what `export files` wrote: no pod of ours, and no Secret."""
    inputs = {
        "uri": ir.parameter(description="What `pachyderm-dagster export files` printed"),
        "repo": ir.parameter(description="The repo, which is noted on the artifact"),
        "commit": ir.parameter(description="The id of the commit, which is noted too"),
        "branch": ir.parameter(default="master", description="The branch, which is noted too"),
    }
    task, data = "import", {"data": ir.dataset(description="The files")}
    pipeline = ir.pipeline(
        IMPORTING.replace("_", "-"),
        "Files of a commit as an artifact, imported from where `pachyderm-dagster export files` wrote them.",
        inputs=ir.definitions(inputs, {}),
        tasks={task: ir.task(task, f"comp-{task}", parameters={name: ir.from_pipeline(name) for name in inputs})},
        components={f"comp-{task}": importing_component(f"exec-{task}", "repo", "branch")},
        executors={f"exec-{task}": importer({name: ir.input_parameter(name) for name in ("repo", "branch")})},
        outputs=ir.definitions({}, data),
        results=ir.definitions({}, {"data": {"artifactSelectors": [{"outputArtifactKey": ARTIFACT, "producerSubtask": task}]}}),
    )
    return ir.to_yaml(pipeline)


def _only_task(word: str, found: _Component) -> Document:
    parameters = {parameter: ir.from_pipeline(parameter) for parameter in found.inputs}
    artifacts = {"data": {"componentInputArtifact": "data"}} if found.reads else {}
    return ir.task(word, f"comp-{word}", parameters=parameters, artifacts=artifacts, cached=found.cached, retries=HOME_RETRIES)


def _results(word: str, found: _Component) -> Document:
    parameters = {name: {"valueFromParameter": {"outputParameterKey": name, "producerSubtask": word}} for name in found.outputs}
    artifacts: Document = {} if found.reads or not found.artifact else {"data": {"artifactSelectors": [{"outputArtifactKey": "data", "producerSubtask": word}]}}
    return ir.definitions(parameters, artifacts)
