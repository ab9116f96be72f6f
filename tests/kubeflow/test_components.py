"""The components for pipelines that people write themselves."""

import subprocess
import sys

import pytest

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.kubeflow.components import COMPONENT_NAMES, component_yaml
from tests.cli.pachctl import ROOT
from tests.kubeflow.specs import documents_of


@pytest.mark.parametrize(("name", "cached"), [("pfs_head", False), ("pfs_get", True), ("pfs_put", False), ("pfs_diff", True), ("pfs_dataset", True)])
def test_what_depends_on_ids_alone_may_come_from_the_cache(name: str, cached: bool) -> None:
    (task,) = documents_of(component_yaml(name))[0]["root"]["dag"]["tasks"].values()
    assert task["cachingOptions"] == ({"enableCache": True} if cached else {})


@pytest.mark.parametrize("name", [name for name in COMPONENT_NAMES if name != "pfs_dataset"])
def test_image_and_secret_are_those_of_the_caller(name: str) -> None:
    pipeline, platform = documents_of(component_yaml(name, image="registry/ours:1", home_secret="home"))
    ((label, executor),) = pipeline["deploymentSpec"]["executors"].items()
    assert executor["container"]["image"] == "registry/ours:1"
    secrets = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][label]["secretAsEnv"]
    assert {one["secretName"] for one in secrets} == {"home"}


def test_a_dataset_is_imported_without_a_pod_and_says_of_which_commit_it_is() -> None:
    (pipeline,) = documents_of(component_yaml("pfs_dataset"))
    (executor,) = pipeline["deploymentSpec"]["executors"].values()
    assert executor["importer"]["artifactUri"] == {"runtimeParameter": "uri"}
    assert executor["importer"]["metadata"] == {name: f"{{{{$.inputs.parameters['{name}']}}}}" for name in ("repo", "branch", "commit")}


def test_other_components_are_not_there() -> None:
    with pytest.raises(NotFoundError, match="pfs_get") as raised:
        component_yaml("pfs_push")
    assert raised.value.code == "component-not-found"


def test_generated_files_are_up_to_date() -> None:
    ended = subprocess.run(
        [sys.executable, "kubeflow/generate.py", "--check"], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
