"""What goes into the store of a home for pods: once, however many pods are given it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pachyderm_dagster.argo.artifact_places import Places
from pachyderm_dagster.argo.cluster.area import RunArea
from pachyderm_dagster.argo.cluster.artifacts import RunArtifacts
from pachyderm_dagster.argo.containers import UserContainer
from pachyderm_dagster.argo.nodes import KeptArtifact
from pachyderm_dagster.argo.parameters import Artifact, Inputs, Location
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.argo.templates import Template
from pachyderm_dagster.storage.open_store import open_store


class Given:
    """The artifacts of a run, and what its store has for pods."""

    def __init__(self, folder: Path) -> None:
        self.kept = folder / "runs" / "wf" / "artifacts"
        self.kept.mkdir(parents=True)
        self._store = open_store((folder / "store").as_uri())
        self._artifacts = RunArtifacts(folder / "runs" / "wf", "wf", RunArea(self._store, "uid"))

    def order(self, kept: KeptArtifact, pod: str = "wf") -> None:
        template = Template(name="t", container=UserContainer(name="main", image="x"), inputs=Inputs(artifacts=(Artifact(name="a", path="/a"),)))
        self._artifacts.order(Pod(pod, pod, template, artifacts={"a": kept}))

    def number(self) -> int:
        return len(list(self._store.list("workflows/uid/in")))


@pytest.fixture
def given(tmp_path: Path) -> Given:
    return Given(tmp_path)


def fill(path: Path, *, is_folder: bool, text: str = "x") -> None:
    if is_folder:
        path.mkdir(parents=True)
        path = path / "f"
    path.write_text(text)


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_many_pods_are_given_is_stored_once(given: Given, is_folder: bool) -> None:
    fill(given.kept / "k", is_folder=is_folder)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: given.order(KeptArtifact("k"), f"wf-{number}"), range(20)))
    assert given.number() == 1


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_is_kept_anew_under_a_key_is_stored_too(given: Given, is_folder: bool) -> None:
    fill(given.kept / "k", is_folder=is_folder)
    given.order(KeptArtifact("k"))
    (given.kept / "k").rename(given.kept / "before")
    fill(given.kept / "k", is_folder=is_folder, text="y")
    given.order(KeptArtifact("k"))
    assert given.number() == 2


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_is_fetched_is_stored_once_for_each_content(given: Given, is_folder: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = iter("xxy")
    monkeypatch.setattr(Places, "fetch", lambda _self, _place, target, _secrets: fill(target, is_folder=is_folder, text=next(contents)))
    for number, pods in enumerate((1, 1, 2)):
        given.order(KeptArtifact(location=Location()), f"wf-{number}")
        assert given.number() == pods
