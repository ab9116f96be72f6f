"""The workflows of Argo among the examples, on a real PostgreSQL: on the command line, and as jobs of Dagster."""

import csv
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from pachyderm_dagster.integration import argo_job
from tests.argo.deployments import DeploymentHome
from tests.cli.pachctl import Pachctl
from tests.docs.markdown import ROOT
from tests.records import SERVER
from tests.sql.databases import TestDatabase, new_database

FOLDER = ROOT / "definitions" / "workflows"
pytestmark = pytest.mark.skipif(SERVER is None or shutil.which("psql") is None, reason="needs PostgreSQL, and its program psql")


@pytest.fixture
def winery(tmp_path: Path) -> Iterator[TestDatabase]:
    """A database with the wines."""
    with new_database("postgresql", tmp_path) as database:
        command = ["psql", database.url, "--no-psqlrc", "--quiet", "--file", str(FOLDER / "winery.sql")]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        yield database


@pytest.fixture
def secret(winery: TestDatabase, tmp_path: Path) -> str:
    """The file with the database's URL."""
    file = tmp_path / "secret.yaml"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "winery"}, "stringData": {"url": winery.url}}))
    return str(file)


def submit(pachctl: Pachctl, name: str, secret: str, *words: str) -> dict[str, Any]:
    """Runs a workflow, which must succeed, under the name `run`; its nodes by their names in it."""
    pachctl("argo", "submit", str(FOLDER / name), secret, "--network", "--name", "run", *words)
    (run,) = pachctl.json("argo", "get", "run")
    return {node["display_name"]: node for node in run["nodes"]}


def artifact(pachctl: Pachctl, repo: str, node: dict[str, Any], name: str) -> str:
    """An artifact's text, from the commit of the run."""
    return pachctl("get", "file", f"{repo}@master:/{node['outputs']['artifacts'][name]['key']}").out


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def measurements(wines: list[dict[str, str]]) -> list[list[float]]:
    return [[float(value) for name, value in wine.items() if name not in ("id", "kind")] for wine in wines]


def answers_of(model: Any, training: list[dict[str, str]], test: list[dict[str, str]], *, scaled: bool) -> dict[str, str]:
    """What a model of scikit-learn says of each wine."""
    learnt, asked = measurements(training), measurements(test)
    if scaled:
        means = [sum(column) / len(column) for column in zip(*learnt, strict=True)]
        spreads = [sum((value - mean) ** 2 for value in column) ** 0.5 for column, mean in zip(zip(*learnt, strict=True), means, strict=True)]
        learnt, asked = ([[value / spread for value, spread in zip(row, spreads, strict=True)] for row in rows] for rows in (learnt, asked))
    model.fit(learnt, [wine["kind"] for wine in training])
    return dict(zip((wine["id"] for wine in test), map(str, model.predict(asked)), strict=True))


def test_two_models_learn_from_a_table_and_are_compared(winery: TestDatabase, secret: str, pachctl: Pachctl) -> None:
    nodes = submit(pachctl, "two-models.yaml", secret, "-p", "neighbours=7")

    def text(node: str, name: str) -> str:
        return artifact(pachctl, "argo-two-models", nodes[node], name)

    training, test = (table(text("dataset", name)) for name in ("training", "test"))
    rows = winery.rows("SELECT id, kind FROM wines WHERE kind IS NOT NULL ORDER BY id")
    assert [(int(wine["id"]), wine["kind"]) for wine in test] == [(id, kind) for id, kind in rows if id % 4 == 0]
    assert [(int(wine["id"]), wine["kind"]) for wine in training] == [(id, kind) for id, kind in rows if id % 4 != 0]

    scores = {}
    for name, model in {"neighbours": KNeighborsClassifier(7), "bayes": GaussianNB()}.items():
        expected = answers_of(model, training, test, scaled=name == "neighbours")
        assert {one["id"]: one["kind"] for one in table(text(name, "answers"))} == expected
        scores[name] = round(sum(expected[wine["id"]] == wine["kind"] for wine in test) / len(test), 4)
    assert json.loads(text("scores", "scores")) == scores
    assert scores[nodes["scores"]["outputs"]["parameters"]["best"]] == max(scores.values()) > 0.9


def test_two_models_are_a_job_whose_models_do_not_wait_for_each_other(secret: str, pachctl: Pachctl) -> None:
    job = argo_job([FOLDER / "two-models.yaml", secret], network=True)
    structure = job.graph.dependency_structure
    before = {
        node.name: {output.node_name for outputs in structure.input_to_upstream_outputs_for_node(node.name).values() for output in outputs}
        for node in job.graph.nodes
    }
    assert before == {"dataset": set(), "neighbours": {"dataset"}, "bayes": {"dataset"}, "scores": {"neighbours", "bayes"}}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, run_config={"parameters": {"neighbours": "3"}})
        assert result.success
        name = result.dagster_run.tags["pachyderm/workflow"]
    (made,) = result.asset_materializations_for_node("scores")
    assert made.asset_key.to_user_string() == "default/argo-two-models"
    assert "of 37 wines" in pachctl("argo", "logs", name).out


def test_an_unreachable_database_fails_the_dataset_and_trains_nothing(secret: str, pachctl: Pachctl) -> None:
    answer = pachctl.run("argo", "submit", str(FOLDER / "two-models.yaml"), secret, "--name", "run")
    assert answer.status == 1
    (run,) = pachctl.json("argo", "get", "run")
    phases = {node["display_name"]: node["phase"] for node in run["nodes"]}
    assert phases == {"run": "Failed", "dataset": "Failed", "neighbours": "Omitted", "bayes": "Omitted", "scores": "Omitted"}


# --- experiments


def learnt_weights(wines: list[dict[str, str]], kind: str, *, rounds: int, rate: float, decay: float) -> list[float]:
    """The weights of logistic regression after some rounds, that of no measurement first."""
    values = np.array(measurements(wines))
    rows = np.column_stack([np.ones(len(wines)), (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)])
    learnt = np.array([int(wine["id"]) % 4 != 0 for wine in wines])
    rows, wanted = rows[learnt], np.array([wine["kind"] == kind for wine in wines])[learnt]
    weights = np.zeros(rows.shape[1])
    shrunk = np.array([0.0] + [decay] * (rows.shape[1] - 1))
    for _ in range(rounds):
        weights = weights - rate * (rows.T @ (1 / (1 + np.exp(-rows @ weights)) - wanted) / len(rows) + shrunk * weights)
    return list(map(float, weights))


def saved_weights(winery: TestDatabase) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for experiment, measurement, weight in winery.rows("SELECT experiment, measurement, weight FROM weights"):
        found.setdefault(experiment, {})[measurement] = weight
    return found


def test_experiments_of_a_table_are_fitted_one_by_one_and_their_weights_saved(winery: TestDatabase, secret: str, pachctl: Pachctl) -> None:
    winery.run("INSERT INTO weights VALUES ('long', 'old', 1)", "INSERT INTO experiments VALUES ('none', 0, 1, 0)")
    nodes = submit(pachctl, "experiments.yaml", secret, "-p", "kind=Barolo")
    wines = table(artifact(pachctl, "argo-experiments", nodes["dataset"], "wines"))
    assert len(wines) == 150
    names = ["(intercept)", *(name for name in wines[0] if name not in ("id", "kind"))]
    experiments = winery.rows("SELECT name, rounds, rate, decay FROM experiments")
    saved = saved_weights(winery)
    assert saved.keys() == {"short", "long", "decaying", "careful", "none"}
    for name, rounds, rate, decay in experiments:
        assert saved[name] == pytest.approx(dict(zip(names, learnt_weights(wines, "Barolo", rounds=rounds, rate=rate, decay=decay), strict=True)))
    assert sum(node["template"] == "fit" and node["type"] == "Pod" for node in nodes.values()) == len(experiments)
    losses = {one["experiment"]: one["loss"] for one in json.loads(nodes["collect"]["inputs"]["models"])}
    assert losses["none"] == pytest.approx(np.log(2))
    assert losses[nodes["collect"]["outputs"]["parameters"]["best"]] == min(losses.values())


def test_no_experiments_leave_the_weights_as_they_are(winery: TestDatabase, secret: str, pachctl: Pachctl) -> None:
    winery.run("DELETE FROM experiments")
    nodes = submit(pachctl, "experiments.yaml", secret)
    phases = {name: node["phase"] for name, node in nodes.items()}
    assert phases == {"run": "Succeeded", "list": "Succeeded", "dataset": "Succeeded", "fit": "Skipped", "collect": "Omitted", "save": "Omitted"}


def test_experiments_are_a_job_also_with_the_other_spelling_of_a_fan_out(winery: TestDatabase, secret: str, tmp_path: Path) -> None:
    winery.run("DELETE FROM experiments WHERE name <> 'short'")
    text = (FOLDER / "experiments.yaml").read_text()
    assert "withParam:" in text
    file = tmp_path / "experiments.yaml"
    file.write_text(text.replace("withParam:", "withParams:"))
    job = argo_job([file, secret], network=True)
    assert {node.name for node in job.graph.nodes} == {"list", "dataset", "fit", "collect", "save"}
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
    assert saved_weights(winery).keys() == {"short"}


# --- estimates, and a viewer of them


@pytest.fixture
def viewer(winery: TestDatabase, secret: str, pachctl: Pachctl, environment_of_its_own: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeploymentHome]:
    """The example's viewer in a home without a cluster, with a keeper, on a port that is free."""
    monkeypatch.setenv("PACHYDERM_OBJECTS", "home")
    home = DeploymentHome(environment_of_its_own)
    with home.kept():
        text = (FOLDER / "viewer.yaml").read_text()
        assert text.count("8080") == 3
        pachctl("argo", "kubectl", "apply", "-f", secret, "-f", "-", stdin=text.replace("8080", str(home.port)).encode())
        pachctl("argo", "kubectl", "rollout", "status", "deployment/viewer")
        yield home


def page(home: DeploymentHome) -> str:
    return home.ask("/")


def test_estimates_are_uploaded_and_the_viewer_shows_them_when_the_workflow_has_ended(
    winery: TestDatabase, secret: str, viewer: DeploymentHome, pachctl: Pachctl
) -> None:
    assert "Grignolino" not in page(viewer)
    with viewer.asked_without_a_pause("/") as heard:
        # The Secret is among the objects of the home, so that no file is given.
        pachctl("argo", "submit", str(FOLDER / "estimates.yaml"), "--network", "--name", "run")
    (run,) = pachctl.json("argo", "get", "run")
    assert {node["template"]: node["phase"] for node in run["nodes"] if node["type"] == "Pod"} == dict.fromkeys(
        ("dataset", "estimate", "upload", "update", "served"), "Succeeded"
    )
    assert page(viewer).count(">run</td>") == 28
    assert [one for one in heard if one.startswith("!")] == []
    nodes = {node["template"]: node for node in run["nodes"] if node["type"] == "Pod"}
    check_estimates(winery, *(table(artifact(pachctl, "argo-estimates", nodes["dataset"], name)) for name in ("tasted", "untasted")))

    winery.run("UPDATE wines SET kind = NULL WHERE id = 1")
    with dg.DagsterInstance.ephemeral() as instance:
        job = argo_job([FOLDER / "estimates.yaml", secret], network=True)
        result = job.execute_in_process(instance=instance)
    assert result.success
    assert page(viewer).count(f">{result.dagster_run.tags['pachyderm/workflow']}</td>") == 29


def check_estimates(winery: TestDatabase, tasted: list[dict[str, str]], untasted: list[dict[str, str]]) -> None:
    """What is predicted is what scikit-learn predicts."""
    model = GaussianNB().fit(measurements(tasted), [wine["kind"] for wine in tasted])
    expected = dict(zip((int(wine["id"]) for wine in untasted), map(str, model.predict(measurements(untasted))), strict=True))
    saved = {wine: (kind, probability) for wine, kind, probability in winery.rows("SELECT wine, kind, probability FROM predictions")}
    assert {wine: kind for wine, (kind, _) in saved.items()} == expected and len(expected) == 28
    sure = model.predict_proba(measurements(untasted)).max(axis=1)
    assert [probability for _, (_, probability) in sorted(saved.items())] == pytest.approx(list(sure), abs=0.02)


def test_a_viewer_that_is_not_there_fails_the_update_after_the_upload(
    winery: TestDatabase, secret: str, pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACHYDERM_OBJECTS", "home")
    answer = pachctl.run("argo", "submit", str(FOLDER / "estimates.yaml"), secret, "--network", "--name", "run")
    assert answer.status == 1
    assert "this home has no Deployment 'viewer'" in answer.out
    assert len(winery.rows("SELECT wine FROM predictions")) == 28


def test_a_cluster_that_is_configured_is_meant_also_when_it_is_not_reached(
    winery: TestDatabase, secret: str, pachctl: Pachctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert pachctl.fail("argo", "kubectl", "get", "deployments") == "objects-in-cluster"
    assert pachctl.fail("run", "deployment") == "objects-in-cluster"
    answer = pachctl.run("argo", "submit", str(FOLDER / "estimates.yaml"), secret, "--network", "--name", "run")
    assert answer.status == 1
    (run,) = pachctl.json("argo", "get", "run")
    nodes = {node["template"]: node for node in run["nodes"] if node["type"] == "Pod"}
    assert {name: node["phase"] for name, node in nodes.items()} == {"dataset": "Succeeded", "estimate": "Succeeded", "upload": "Succeeded", "update": "Error"}
    assert "set KUBECONFIG" in nodes["update"]["message"]
