"""Served models as assets: what they depend on, what they refuse, and what a step says where there is no cluster."""

import json
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration import ServedModel, pipeline_asset, repo_asset, served_model
from pachyderm_dagster.integration.served_models import Serving
from pachyderm_dagster.pfs.model import BranchName, RepoName
from tests.integration.home import QUIET, Home

TRAIN = {"pipeline": {"name": "model"}, "input": {"pfs": {"repo": "ratings", "glob": "/"}}, "transform": {"cmd": ["true"]}}


def only(assets: dg.AssetsDefinition) -> dg.AssetSpec:
    (spec,) = assets.specs
    return spec


def test_asset_is_downstream_of_the_model_however_that_is_named() -> None:
    model = dg.AssetKey(["default", "model"])
    for given in ("model", "default/model@master", repo_asset("model"), pipeline_asset(TRAIN)):
        spec = only(served_model(given, deployment="recommender", env="MODEL"))
        assert [dep.asset_key for dep in spec.deps] == [model], given
        assert (spec.key, spec.group_name) == (dg.AssetKey(["served", "recommender"]), "default")
        assert spec.metadata["pachyderm/deployment"] == "recommender"
    (dep,) = only(served_model("vision/model@dev", deployment="d", env="MODEL", key="eyes", owners=["team:vision"])).deps
    assert dep.asset_key == dg.AssetKey(["vision", "dev", "model"])


def test_model_whose_asset_has_another_key_is_followed() -> None:
    model = repo_asset("model").replace_attributes(key=["models", "best"])
    spec = only(served_model(model, deployment="d", env="MODEL", deps=["other"], metadata={"mine": "1"}))
    assert {dep.asset_key for dep in spec.deps} == {dg.AssetKey(["models", "best"]), dg.AssetKey("other")}
    assert spec.metadata["mine"] == "1" and spec.metadata["pachyderm/variable"] == "MODEL"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model": dg.AssetSpec("cars")}, "found 'cars', of which 0 are kept in branches"),
        ({"model": 3}, "a served model is a branch by its name"),
        ({"model": "a b"}, "'a b' cannot name a repo"),
        ({"deployment": None}, "the Deployment is None; it is to be a str"),
        ({"env": 1}, "the variable is 1"),
        ({"value": "{commit_id}"}, "cannot be filled in ('commit_id'); it takes {project}, {repo}, {branch}, {commit}"),
        ({"value": "{"}, "cannot be filled in"),
        ({"value": 3}, "the value of the variable is 3"),
        ({"timeout": "soon"}, "'soon' is no duration"),
    ],
)
def test_mistakes_are_told_when_the_code_is_loaded(arguments: dict[str, object], said: str) -> None:
    given: dict[str, object] = {"model": "model", "deployment": "recommender", "env": "MODEL", **arguments}
    with pytest.raises(InvalidError) as caught:
        served_model(**given)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_value_names_the_commit_as_the_text_says(home: Home) -> None:
    commit = home.commit("model@dev", {"/weights": "1"}, "tuned")
    branch = BranchName(RepoName("default", "model"), "dev")

    def value(text: object) -> str:
        key = dg.AssetKey("model")
        return Serving(key, key, branch, "d", "MODEL", text, None, None, None, 1.0, None).value_of(commit)  # type: ignore[arg-type]

    assert value("{commit}") == commit.id
    assert value("{project}/{repo}@{branch}={commit}") == f"default/model@dev={commit.id}"
    assert value(lambda commit: commit.description) == "tuned"


def failure_of(home: Home, asset: dg.AssetsDefinition) -> str:
    """Why the step of an asset failed."""
    result = dg.materialize([asset], instance=home.instance, raise_on_error=False, run_config=QUIET)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    return str(failed.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]


def test_step_says_what_is_missing(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = tmp_path / "kubeconfig"
    environ = {**home.environ, "KUBECONFIG": str(nowhere)}
    asset = served_model("model", deployment="recommender", env="MODEL", environ=environ)
    assert "there is no model to serve: 'model@master' has no commit" in failure_of(home, asset)

    home.commit("model@master", {"/weights": "1"})
    assert "the cluster is not known" in failure_of(home, asset) and "set KUBECONFIG" in failure_of(home, asset)

    nowhere.write_text(
        '{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],'
        ' "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}], "users": [{"name": "u", "user": {}}]}'
    )
    assert "the API server does not answer" in failure_of(home, asset)

    for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes" or name.startswith("pachyderm_dagster.executors.kubernetes")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "pachyderm_dagster.delivery.deployments", raising=False)
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    assert "pip install 'pachyderm-dagster[kubernetes]'" in failure_of(home, asset)


def component(**attributes: object) -> dg.AssetSpec:
    """The asset of the component, loaded from YAML as `dg` does."""
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=ServedModel)
        found = {"type": "pachyderm_dagster.integration.ServedModel", "attributes": attributes}
        (Path(path) / "defs.yaml").write_text(json.dumps(found))
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, definitions):
            (made,) = definitions.assets or ()
    assert isinstance(made, dg.AssetsDefinition)
    return only(made)


# Dagster's own uses of what is deprecated or beta.
@pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated", "ignore::dagster.BetaWarning")
def test_component_makes_the_same_asset() -> None:
    spec = component(branch="model", deployment="recommender", env="MODEL", value="s3://models/{commit}")
    assert spec.key == dg.AssetKey(["served", "recommender"])
    assert spec.automation_condition is not None
    assert component(branch="model", deployment="recommender", env="MODEL", automatic=False).automation_condition is None
