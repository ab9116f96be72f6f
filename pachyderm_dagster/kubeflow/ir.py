"""The pieces of a pipeline's IR (KFP's PipelineSpec, schema 2.1.0) as plain dictionaries, as kfp's compiler writes them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import yaml

SCHEMA_VERSION = "2.1.0"
SDK_VERSION = "kfp-2.17.0"
"""The oldest SDK that reads what is written here; backends choose by it how parameters are read."""
DATASET = {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}
ANY_ARTIFACT = {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}
"""What an input takes to which artifacts of all types may be given."""
EXECUTOR_INPUT = "{{$}}"
"""Becomes all that a task is told, as JSON."""

Document: TypeAlias = dict[str, Any]


def input_parameter(name: str) -> str:
    """The placeholder of an input parameter. It must not be the first word of a command, where KFP leaves it as it is."""
    return f"{{{{$.inputs.parameters['{name}']}}}}"


def input_path(name: str) -> str:
    """The placeholder of the folder of an input artifact."""
    return f"{{{{$.inputs.artifacts['{name}'].path}}}}"


def output_path(name: str) -> str:
    """The placeholder of the folder of an output artifact."""
    return f"{{{{$.outputs.artifacts['{name}'].path}}}}"


def output_uri(name: str) -> str:
    """The placeholder of the URI of an output artifact."""
    return f"{{{{$.outputs.artifacts['{name}'].uri}}}}"


def parameter(type: str = "STRING", *, default: Any = None, description: str = "") -> Document:
    """An input or output parameter; one with a default may be left out."""
    said = {"description": description} if description else {}
    return {"parameterType": type, **said, **({} if default is None else {"defaultValue": default, "isOptional": True})}


def dataset(*, many: bool = False, description: str = "") -> Document:
    """An input or output artifact, or a list of them."""
    return {"artifactType": dict(DATASET), **({"isArtifactList": True} if many else {}), **({"description": description} if description else {})}


def any_artifact(description: str) -> Document:
    """An input artifact of whatever type."""
    return {"artifactType": dict(ANY_ARTIFACT), "description": description}


def definitions(parameters: Mapping[str, Document], artifacts: Mapping[str, Document]) -> Document:
    """The inputs or outputs of a component."""
    return {**({"artifacts": dict(artifacts)} if artifacts else {}), **({"parameters": dict(parameters)} if parameters else {})}


def component(executor: str, inputs: Document, outputs: Document) -> Document:
    """A component that an executor runs."""
    return {"executorLabel": executor, **({"inputDefinitions": inputs} if inputs else {}), **({"outputDefinitions": outputs} if outputs else {})}


def task(
    name: str,
    component: str,
    *,
    title: str = "",
    parameters: Mapping[str, Document] | None = None,
    artifacts: Mapping[str, Document] | None = None,
    after: Sequence[str] = (),
    cached: bool = True,
    retries: int = 0,
) -> Document:
    """A task of a graph. `after` are the tasks that it waits for; `retries` how often it is tried once more."""
    inputs = definitions(parameters or {}, artifacts or {})
    policy = {"backoffDuration": "0s", "backoffFactor": 2.0, "backoffMaxDuration": "3600s", "maxRetryCount": retries}
    return {
        "cachingOptions": {"enableCache": True} if cached else {},
        "componentRef": {"name": component},
        **({"dependentTasks": sorted(set(after))} if after else {}),
        **({"inputs": inputs} if inputs else {}),
        **({"retryPolicy": policy} if retries else {}),
        "taskInfo": {"name": title or name},
    }


def constant(value: Any) -> Document:
    """An input that is a value."""
    return {"runtimeValue": {"constant": value}}


def from_pipeline(name: str) -> Document:
    """An input that is a parameter of the graph around the task."""
    return {"componentInputParameter": name}


def from_task(task: str, parameter: str) -> Document:
    """An input that is an output parameter of another task."""
    return {"taskOutputParameter": {"outputParameterKey": parameter, "producerTask": task}}


def artifact_of(task: str, name: str) -> Document:
    """An input that is an output artifact of another task."""
    return {"taskOutputArtifact": {"outputArtifactKey": name, "producerTask": task}}


def container(image: str, command: Sequence[str], args: Sequence[str], *, env: Mapping[str, str] | None = None, resources: Document | None = None) -> Document:
    """An executor: a container."""
    variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
    return {
        "container": {
            "args": list(args),
            "command": list(command),
            **({"env": variables} if variables else {}),
            "image": image,
            **({"resources": resources} if resources else {}),
        }
    }


def pipeline(
    name: str,
    description: str,
    *,
    inputs: Document,
    tasks: Mapping[str, Document],
    components: Mapping[str, Document],
    executors: Mapping[str, Document],
    outputs: Document | None = None,
    results: Document | None = None,
) -> Document:
    """A whole pipeline. `inputs` and `outputs` are what its root takes and gives, `results` where each output comes from."""
    return {
        "components": dict(components),
        "deploymentSpec": {"executors": dict(executors)},
        "pipelineInfo": {**({"description": description} if description else {}), "name": name},
        "root": {
            "dag": {**({"outputs": results} if results else {}), "tasks": dict(tasks)},
            **({"inputDefinitions": inputs} if inputs else {}),
            **({"outputDefinitions": outputs} if outputs else {}),
        },
        "schemaVersion": SCHEMA_VERSION,
        "sdkVersion": SDK_VERSION,
    }


def platform(executors: Mapping[str, Document]) -> Document:
    """What Kubernetes is told beside the pipeline: by executor."""
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {name: found for name, found in executors.items() if found}}}}}


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def to_yaml(*documents: Document) -> str:
    """The documents of a file, with keys in order, so that equal documents are equal texts."""
    return "---\n".join(yaml.dump(document, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=160) for document in documents)
