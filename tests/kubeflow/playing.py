"""Plays Kubeflow for a whole pipeline file: tasks one after the other, each with the words that the launcher would put in place of placeholders."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Document = dict[str, Any]
_PLACEHOLDER = re.compile(r"\{\{\$\.(inputs|outputs)\.(parameters|artifacts)\['([^']+)'\]\.?(\w*)\}\}")


@dataclass(frozen=True, slots=True)
class Pod:
    """What a task of Kubeflow runs.

    Attributes:
        settings: what Kubernetes is told of it beside the container.
        claims: the names of claims for volumes that it has, each with where it sees it.
    """

    name: str
    image: str
    command: Sequence[str]
    args: Sequence[str]
    env: Mapping[str, str]
    settings: Document
    claims: Sequence[tuple[str, str]] = ()


@dataclass
class Player:
    """Runs a pipeline.

    Args:
        folder: where artifacts and parameters are, which all pods see at this path.
        run: runs a pod to its end, which has to be a good one.
        fetch: brings what lies at a URL into a folder, as the launcher does with an artifact that a task gets.
        claims: the claims for volumes that there are.
    """

    pipeline: Document
    platform: Document
    folder: Path
    run: Callable[[Pod], None]
    fetch: Callable[[str, Path], None] | None = None
    outputs: dict[str, Document] = field(default_factory=dict)
    """By task the parameters and the folders of artifacts that it gave."""
    claims: set[str] = field(default_factory=set)

    def play(self, **parameters: str) -> None:
        """Runs all tasks."""
        given = self.pipeline["root"].get("inputDefinitions", {}).get("parameters", {})
        values = {name: parameters.get(name, one.get("defaultValue", "")) for name, one in given.items()}
        self._run_graph(self.pipeline["root"]["dag"]["tasks"], {"parameters": values, "artifacts": {}}, self.outputs, "")

    def _run_graph(self, tasks: Document, around: Document, done: dict[str, Document], prefix: str) -> None:
        waiting = dict(tasks)
        while waiting:
            name = next(name for name, task in waiting.items() if set(task.get("dependentTasks", ())) <= done.keys())
            task = waiting.pop(name)
            inputs = _inputs(task.get("inputs", {}), around, done)
            component = self.pipeline["components"][task["componentRef"]["name"]]
            if "parameterIterator" in task:
                done[name] = self._run_loop(task, component, inputs, f"{prefix}{name}")
            elif "dag" in component:
                inner: dict[str, Document] = {}
                self._run_graph(component["dag"]["tasks"], inputs, inner, f"{prefix}{name}-")
                done[name] = next(iter(inner.values()))
            else:
                done[name] = self._run_task(component, inputs, f"{prefix}{name}", around, done)

    def _run_loop(self, task: Document, component: Document, inputs: Document, name: str) -> Document:
        """Runs a graph for each item; each output artifact becomes a list."""
        iterator = task["parameterIterator"]
        found: dict[str, list[Path]] = {output: [] for output in component.get("outputDefinitions", {}).get("artifacts", {})}
        for number, item in enumerate(json.loads(iterator["items"]["raw"])):
            inner: dict[str, Document] = {}
            one = {**inputs, "parameters": {**inputs["parameters"], iterator["itemInput"]: item}}
            self._run_graph(component["dag"]["tasks"], one, inner, f"{name}-{number}-")
            for output, selector in component["dag"].get("outputs", {}).get("artifacts", {}).items():
                chosen = selector["artifactSelectors"][0]
                found[output] += inner[chosen["producerSubtask"]]["artifacts"][chosen["outputArtifactKey"]]
        return {"parameters": {}, "artifacts": found}

    def _run_task(self, component: Document, inputs: Document, name: str, around: Document, done: Mapping[str, Document]) -> Document:
        executor = self.pipeline["deploymentSpec"]["executors"][component["executorLabel"]]
        if "importer" in executor:
            assert self.fetch is not None
            (self.folder / name).mkdir()
            self.fetch(inputs["parameters"][executor["importer"]["artifactUri"]["runtimeParameter"]], self.folder / name)
            return {"parameters": {}, "artifacts": {one: [self.folder / name] for one in component["outputDefinitions"]["artifacts"]}}
        image = executor["container"]["image"]
        if image == "argostub/createpvc":
            claim = f"claim{len(self.claims)}{inputs['parameters']['pvc_name_suffix']}"
            self.claims.add(claim)
            return {"parameters": {"name": claim}, "artifacts": {}}
        if image == "argostub/deletepvc":
            self.claims.remove(inputs["parameters"]["pvc_name"])
            return {"parameters": {}, "artifacts": {}}
        place = self.folder / name
        place.mkdir(mode=0o777)
        place.chmod(0o777)
        outputs = component.get("outputDefinitions", {})
        made: Document = {
            "parameters": {one: place / f"{one}.txt" for one in outputs.get("parameters", {})},
            "artifacts": {one: [place / one] for one in outputs.get("artifacts", {})},
        }
        defaults = {one: found.get("defaultValue") for one, found in component.get("inputDefinitions", {}).get("parameters", {}).items()}
        inputs = {**inputs, "parameters": {**defaults, **inputs["parameters"]}}
        told = json.dumps(_told(inputs, made, place))
        label = component["executorLabel"]
        container = self.pipeline["deploymentSpec"]["executors"][label]["container"]
        settings = self.platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {}).get(label, {})

        def filled(words: Sequence[str]) -> list[str]:
            return [_PLACEHOLDER.sub(lambda found: _value(found, inputs, made), word.replace("{{$}}", told)) for word in words]

        first, *command = container["command"]
        env = {one["name"]: one["value"] for one in container.get("env", ())}
        # Of a graph's task it is a parameter of the graph.
        claims = [
            (_inputs({"parameters": {"claim": one["pvcNameParameter"]}}, around, done)["parameters"]["claim"], one["mountPath"]) for one in _mounts(settings)
        ]
        self.run(Pod(name, image, [first, *filled(command)], filled(container["args"]), env, settings, claims))
        types = {one: found["parameterType"] for one, found in outputs.get("parameters", {}).items()}
        parameters = {one: _read(path, types[one]) for one, path in made["parameters"].items()}
        return {"parameters": parameters, "artifacts": made["artifacts"]}


def _mounts(settings: Document) -> list[Document]:
    """The volumes of a pod. Older backends read the claim's name beside `pvcNameParameter`."""
    found: list[Document] = settings.get("pvcMount", [])
    assert all(one["pvcNameParameter"].items() <= one.items() for one in found)
    return found


def _read(path: Path, type: str) -> Any:
    text = path.read_text()
    return text if type == "STRING" else json.loads(text)


def _inputs(inputs: Document, around: Document, done: Mapping[str, Document]) -> Document:
    def parameter(one: Document) -> Any:
        if "taskOutputParameter" in one:
            source = one["taskOutputParameter"]
            return done[source["producerTask"]]["parameters"][source["outputParameterKey"]]
        return around["parameters"][one["componentInputParameter"]] if "componentInputParameter" in one else one["runtimeValue"]["constant"]

    def artifact(one: Document) -> list[Path]:
        if "taskOutputArtifact" in one:
            source = one["taskOutputArtifact"]
            found: list[Path] = done[source["producerTask"]]["artifacts"][source["outputArtifactKey"]]
            return found
        given: list[Path] = around["artifacts"][one["componentInputArtifact"]]
        return given

    return {
        "parameters": {name: parameter(one) for name, one in inputs.get("parameters", {}).items()},
        "artifacts": {name: artifact(one) for name, one in inputs.get("artifacts", {}).items()},
    }


def _told(inputs: Document, made: Document, place: Path) -> Document:
    """An ExecutorInput."""

    def artifacts(found: Mapping[str, Sequence[Path]]) -> Document:
        return {name: {"artifacts": [{"name": name, "uri": str(path)} for path in paths]} for name, paths in found.items()}

    return {
        "inputs": {"parameterValues": inputs["parameters"], "artifacts": artifacts(inputs["artifacts"])},
        "outputs": {
            "parameters": {name: {"outputFile": str(path)} for name, path in made["parameters"].items()},
            "artifacts": artifacts(made["artifacts"]),
            "outputFile": str(place / "executor_output.json"),
        },
    }


def _value(found: re.Match[str], inputs: Document, made: Document) -> str:
    side, kind, name, _ = found.groups()
    value = (inputs if side == "inputs" else made)[kind][name]
    if kind == "artifacts":
        return str(value[0])
    return value if isinstance(value, str) else str(value) if side == "outputs" else json.dumps(value)
