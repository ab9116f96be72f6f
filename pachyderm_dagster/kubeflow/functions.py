"""Functions of Python as commands that an image can run."""

import msgspec

from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.worker.function_code import RUNNER

DEFAULT_PYTHON = "python"


def is_installed_function(spec: PipelineSpec) -> bool:
    """Whether the code is a `datum_asset` that is installed in the image: it can run one datum and end."""
    return _folder_of(spec) == ""


def installed_in(spec: PipelineSpec, image: str, python: str) -> PipelineSpec:
    """A pipeline whose function is imported from a folder of this machine as one whose image has it installed; any other is as it was."""
    if not _folder_of(spec):
        return spec
    words = spec.transform.cmd
    at = words.index(RUNNER)
    cmd = (python, *words[1 : at + 1], "", *words[at + 2 :])
    return msgspec.structs.replace(spec, transform=msgspec.structs.replace(spec.transform, image=image, cmd=cmd))


def _folder_of(spec: PipelineSpec) -> str | None:
    """The folder that a function is imported from, empty for one that is installed; None for other code."""
    words = spec.transform.cmd
    return words[words.index(RUNNER) + 1] if RUNNER in words[:-1] else None
