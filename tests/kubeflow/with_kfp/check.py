"""Reads files as kfp and the API server do: strictly, and compiles them again: `python check.py AGAIN FILE...`. What differs is printed, and fails."""

import sys
from pathlib import Path
from typing import Any

import kfp
import yaml
from google.protobuf import json_format  # type: ignore[import-untyped]
from kfp import compiler, components
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2


def check(file: str, again: str) -> list[str]:
    """What is wrong with a file; unknown fields raise."""
    documents = list(yaml.safe_load_all(Path(file).read_text()))
    json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    for executor in documents[0]["deploymentSpec"]["executors"].values():
        json_format.ParseDict(executor, pipeline_spec_pb2.PipelineDeploymentConfig.ExecutorSpec())
    for platform in documents[1:]:
        json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
        for executor in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
            json_format.ParseDict(executor, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
    compiler.Compiler().compile(components.load_component_from_file(file), again)
    recompiled = list(yaml.safe_load_all(Path(again).read_text()))
    found = [difference for one, other in zip(documents, recompiled, strict=False) for difference in differences(one, other)]
    return found + ([f"{len(documents)} documents became {len(recompiled)}"] if len(documents) != len(recompiled) else [])


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two documents differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        missing = object()
        return [found for key in sorted(one.keys() | other.keys()) for found in differences(one.get(key, missing), other.get(key, missing), f"{path}/{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [found for number, pair in enumerate(zip(one, other, strict=True)) for found in differences(*pair, f"{path}/{number}")]
    return [] if one == other else [f"{path}: {one!r} became {other!r}"]


if __name__ == "__main__":
    wrong = [f"{file}{found}" for file in sys.argv[2:] for found in check(file, sys.argv[1])]
    print("\n".join([f"kfp {kfp.__version__}", *wrong]))
    sys.exit(bool(wrong))
