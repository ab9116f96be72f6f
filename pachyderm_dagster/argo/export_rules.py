"""What of a pipeline a workflow of Argo cannot express: each told by the name of its field."""

import re
from collections.abc import Iterator

import msgspec

from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.pps.spec import PipelineSpec

_SHELLS = ("sh", "bash", "dash", "ash", "zsh")
_INTERPRETERS = ("python", "python3", "perl", "ruby", "node", "Rscript")
_TAKES_CODE = re.compile(r"-|-[A-Za-z]*[csm]|--.*")
"""Options with which a program does not run the file that follows; `-e` of programs that are no shells is one too."""
_VARIABLE = re.compile(r"[A-Za-z0-9_-]+")
_NUMBER = re.compile(r"[0-9]+")


def find_problems(spec: PipelineSpec) -> list[str]:
    """What cannot be expressed, with the way out; nothing when the pipeline can be exported."""
    if spec.runs_on or spec.input is None:
        return [f"it is a {spec.kind}, a process that stays; make it a Deployment"]
    return [*_of_pipeline(spec), *_of_code(spec), *_of_inputs(spec)]


def _of_pipeline(spec: PipelineSpec) -> Iterator[str]:
    if spec.egress is not None:
        yield "'egress' has no step here; let a pipeline that reads the output send it"
    if spec.job_timeout is not None:
        yield "'job_timeout' is of a job; set 'activeDeadlineSeconds' of the workflow"
    if spec.pod_spec or spec.pod_patch:
        yield "'pod_spec' and 'pod_patch' change our pods; write 'podSpecPatch' into what is exported"
    if "{{" in msgspec.json.encode(spec).decode():
        yield "'{{' in it would be taken for a tag of Argo; put that text into the image"


def _of_code(spec: PipelineSpec) -> Iterator[str]:
    transform = spec.transform
    if not transform.cmd:
        yield "'transform.cmd' is empty; the image's own program cannot be known"
    if transform.build is not None:
        yield "'transform.build' keeps code in the home; put it into the image"
    if transform.err_cmd:
        yield "'transform.err_cmd' recovers datums; let the command itself end well"
    if transform.datum_batching:
        yield "'transform.datum_batching' asks the worker for datums; run one datum a process"
    if transform.accept_return_code:
        yield "'transform.accept_return_code': Argo takes 0 only; let the command end with that"
    if transform.user and not _NUMBER.fullmatch(transform.user):
        yield f"'transform.user' {transform.user!r} is known in the image only; write the user's number"
    if transform.cmd and transform.stdin and not _runs_a_file(transform.cmd):
        yield "'transform.stdin' is given to a command that does not run a file in its place; write it into a script of the image"


def _runs_a_file(cmd: tuple[str, ...]) -> bool:
    """Whether a command does with a file that is its last argument what it does with its standard input."""
    program, *options = cmd
    name = program.rpartition("/")[2]
    if name not in (*_SHELLS, *_INTERPRETERS):
        return False
    return not any(not option.startswith("-") or _TAKES_CODE.fullmatch(option) or (option == "-e" and name not in _SHELLS) for option in options)


def _of_inputs(spec: PipelineSpec) -> Iterator[str]:
    for leaf in leaves(spec.input):
        if isinstance(leaf, CronInput):
            yield f"the input '{leaf.name}' is a clock; start the workflow with a CronWorkflow"
        elif leaf.empty_files:
            yield f"'empty_files' of the input '{leaf.name}' is for links in the output, which do not leave a pod"
        elif not _VARIABLE.fullmatch(leaf.name):
            yield f"the input '{leaf.name}' is no name of a parameter; rename it"
