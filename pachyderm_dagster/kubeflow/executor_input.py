"""What KFP tells a task (ExecutorInput), and what a task tells KFP (ExecutorOutput and the files of output parameters)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from pachyderm_dagster.errors import InvalidError

_MOUNTS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}
Value: TypeAlias = str | int | bool | list[str]


class _Artifact(msgspec.Struct, rename="camel"):
    name: str = ""
    uri: str = ""
    custom_path: str = ""


class _Artifacts(msgspec.Struct):
    artifacts: list[_Artifact] = []


class _Parameter(msgspec.Struct, rename="camel"):
    output_file: str


class _Inputs(msgspec.Struct):
    artifacts: dict[str, _Artifacts] = {}


class _Outputs(msgspec.Struct, rename="camel"):
    output_file: str = ""
    artifacts: dict[str, _Artifacts] = {}
    parameters: dict[str, _Parameter] = {}


class ExecutorInput(msgspec.Struct):
    """What KFP tells a task, as far as it is used here."""

    inputs: _Inputs = msgspec.field(default_factory=_Inputs)
    outputs: _Outputs = msgspec.field(default_factory=_Outputs)

    def input_folders(self, name: str) -> list[Path]:
        """The folders of an input artifact, or of a list of them.

        Raises:
            InvalidError: `executor-input-invalid`.
        """
        if name not in self.inputs.artifacts:
            raise _invalid(f"names no input artifact {name!r}")
        return [_folder(one) for one in self.inputs.artifacts[name].artifacts]

    def output_folder(self, name: str) -> Path:
        """The folder of an output artifact. Raises InvalidError `executor-input-invalid`."""
        found = self.outputs.artifacts.get(name)
        if found is None or not found.artifacts:
            raise _invalid(f"names no output artifact {name!r}")
        return _folder(found.artifacts[0])

    def write(self, parameters: Mapping[str, Value], metadata: Mapping[str, Mapping[str, Any]]) -> None:
        """Tells KFP what output parameters are, as far as it asks for them, and what is noted on output artifacts."""
        for name, value in parameters.items():
            if name in self.outputs.parameters:
                _write(self.outputs.parameters[name].output_file, value if isinstance(value, str) else json.dumps(value))
        if self.outputs.output_file and metadata:
            told = {name: {"artifacts": [{"name": one.name, "uri": one.uri, "metadata": noted}]} for name, noted in metadata.items() for one in self._of(name)}
            _write(self.outputs.output_file, json.dumps({"artifacts": told}, sort_keys=True))

    def _of(self, name: str) -> list[_Artifact]:
        found = self.outputs.artifacts.get(name)
        return [] if found is None else found.artifacts[:1]


def parse_executor_input(text: str) -> ExecutorInput:
    """Reads what `{{$}}` became.

    Raises:
        InvalidError: `executor-input-invalid`.
    """
    try:
        return msgspec.json.decode(text, type=ExecutorInput)
    except msgspec.MsgspecError as error:
        raise _invalid(f"cannot be read: {error}") from error


def _invalid(problem: str) -> InvalidError:
    return InvalidError("executor-input-invalid", f"what Kubeflow tells the task {problem}; `--executor-input` takes what it puts in place of {{{{$}}}}")


def _folder(artifact: _Artifact) -> Path:
    """Where the launcher of KFP puts an artifact, or takes it from."""
    if artifact.custom_path:
        return Path(artifact.custom_path)
    for scheme, mount in _MOUNTS.items():
        if artifact.uri.startswith(scheme):
            return Path(mount + artifact.uri.removeprefix(scheme))
    return Path(artifact.uri)


def _write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")
