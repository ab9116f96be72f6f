"""The components that `dg` offers: what they load from YAML, how users change it, and Dagster's own suites for components."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox
from dagster.components.testing.test_cases import TestOpCustomization, TestTranslation

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.integration import PachydermPipelines, PachydermWorkspace
from tests.integration.home import Home

# Dagster's own use of what is deprecated or beta.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{what}") for what in ("`parse_obj_as` is deprecated", "Accessing `{{automation_condition", ":dagster.BetaWarning")
]

COUNT, TOTAL, BOOKS = (dg.AssetKey(["default", name]) for name in ("count", "total", "books"))
PIPELINES = "pachyderm_dagster.integration.PachydermPipelines"
WORKSPACE = "pachyderm_dagster.integration.PachydermWorkspace"


@contextlib.contextmanager
def loaded(kind: type, attributes: Mapping[str, Any] | None = None) -> Iterator[tuple[Any, dg.Definitions]]:
    """A component as `dg scaffold defs` makes it, with other attributes if given, and its definitions."""
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=kind)
        text = (Path(path) / "pipelines.yaml").read_text() if kind is PachydermPipelines else ""
        (Path(path) / "one.yaml").write_text(text.partition("---")[0])
        if attributes is not None:
            name = PIPELINES if kind is PachydermPipelines else WORKSPACE
            (Path(path) / "defs.yaml").write_text(json.dumps({"type": name, "attributes": attributes}))
        with sandbox.load_component_and_build_defs(defs_path=path) as found:
            yield found


def spec_of(definitions: dg.Definitions, key: dg.AssetKey) -> dg.AssetSpec:
    """The only asset of that key, made here or not."""
    (found,) = (spec for spec in definitions.resolve_all_asset_specs() if spec.key == key)
    return found


def test_dg_finds_the_components() -> None:
    (found,) = (entry for entry in entry_points(group="dagster_dg_cli.registry_modules") if entry.name == "pachyderm_dagster")
    module = found.load()
    assert {name for name in dir(module) if isinstance(kind := getattr(module, name), type) and issubclass(kind, dg.Component)} == {
        "ArgoWorkflows",
        "GitSync",
        "PachydermPipelines",
        "PachydermWorkspace",
        "ServedModel",
    }


def test_scaffolded_pipelines_load_with_job_and_sensor() -> None:
    with loaded(PachydermPipelines) as (_, definitions):
        graph = definitions.resolve_asset_graph()
        assert graph.executable_asset_keys == {COUNT, TOTAL}
        assert graph.get(COUNT).parent_keys == {BOOKS}
        assert [sensor.name for sensor in definitions.sensors or ()] == ["commits_default"]
        assert definitions.resolve_job_def("pipelines_default").executor_def.name == "in_process"


def test_pipelines_and_branches_are_translated_apart(tmp_path: Path) -> None:
    attributes = {
        "specs": "pipelines.yaml",
        "translation": {"key": "words/{{ repo }}", "owners": ["team:words"], "tags": {"made_by": "{{ props.name.name }}"}},
        "branch_translation": {"key_prefix": "raw", "description": "{{ repo }} at {{ branch }}"},
    }
    with loaded(PachydermPipelines, attributes) as (_, definitions):
        graph = definitions.resolve_asset_graph()
        count = graph.get(dg.AssetKey(["words", "count"]))
        assert (count.owners, count.tags["made_by"]) == (["team:words"], "count")
        assert count.parent_keys == {dg.AssetKey(["raw", "default", "books"])}
        assert graph.get(dg.AssetKey(["words", "total"])).parent_keys == {count.key}
        assert graph.get(dg.AssetKey(["raw", "default", "books"])).description == "books at master"


class TestPipelinesTranslation(TestTranslation):
    def test_translation(self, attributes: Mapping[str, Any], assertion: Any, key_modifier: Any) -> None:
        with loaded(PachydermPipelines, {"specs": "one.yaml", "translation": attributes}) as (_, definitions):
            key = COUNT if key_modifier is None else key_modifier(COUNT)
            assert assertion(definitions.resolve_assets_def(key).get_asset_spec(key))


class TestPipelinesOp(TestOpCustomization):
    def test_translation(self, attributes: Mapping[str, Any], assertion: Any) -> None:
        with loaded(PachydermPipelines, {"specs": "pipelines.yaml", "op": attributes}) as (component, definitions):
            assert assertion(component.op)
            step = definitions.resolve_assets_def(COUNT).op
            assert (step.pool or None) == component.op.pool
            assert dict(step.tags).items() >= (component.op.tags or {}).items()


class TestPipelinesBranchTranslation(TestTranslation):
    def test_translation(self, attributes: Mapping[str, Any], assertion: Any, key_modifier: Any) -> None:
        with loaded(PachydermPipelines, {"specs": "one.yaml", "branch_translation": attributes}) as (_, definitions):
            key = BOOKS if key_modifier is None else key_modifier(BOOKS)
            assert assertion(spec_of(definitions, key))
            assert definitions.resolve_asset_graph().get(COUNT).parent_keys == {key}


@pytest.fixture
def counting(home: Home, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The attributes of a `PachydermWorkspace` with one pipeline, which looks at each load."""
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "1")
    home.commit("books@master", {"/hamlet": "to be"})
    home.pipeline("count", "books")
    return {"home": str(home.workspace.settings.home)}


class TestWorkspaceTranslation(TestTranslation):
    @pytest.mark.parametrize(("field", "own"), [("translation", COUNT), ("branch_translation", BOOKS)])
    def test_translation(
        self, attributes: Mapping[str, Any], assertion: Any, key_modifier: Any, counting: Mapping[str, Any], field: str, own: dg.AssetKey
    ) -> None:
        with loaded(PachydermWorkspace, {**counting, field: attributes}) as (_, definitions):
            assert assertion(spec_of(definitions, own if key_modifier is None else key_modifier(own)))


class TestWorkspaceOp(TestOpCustomization):
    def test_translation(self, attributes: Mapping[str, Any], assertion: Any, counting: Mapping[str, Any]) -> None:
        with loaded(PachydermWorkspace, {**counting, "op": attributes}) as (component, definitions):
            assert assertion(component.op)
            made = definitions.resolve_assets_def(COUNT)
            assert made.op.name.startswith(component.op.name or "")
            assert dict(made.op.tags).items() >= (component.op.tags or {}).items()
            assert made.backfill_policy == component.op.backfill_policy


def test_subclass_says_otherwise_what_a_step_does(home: Home) -> None:
    said = []

    class Telling(PachydermPipelines):
        def execute(self, context: Any, step: Any, workspace: Any, executor: Any) -> Any:
            said.append(step.pipeline.name.name)
            yield from super().execute(context, step, workspace, executor)

    home.commit("books@master", {"/hamlet": "to be or not to be"})
    with create_defs_folder_sandbox() as sandbox:
        path = Path(sandbox.scaffold_component(component_cls=PachydermPipelines))
        definitions = dg.build_defs_for_component(Telling(specs=str(path / "pipelines.yaml"), home=str(home.workspace.settings.home)))
        assert definitions.resolve_job_def("pipelines_default").execute_in_process(instance=home.instance).success
    assert said == ["count", "total"]
    assert home.workspace.pfs.inspect_commit("total@master").size_bytes == len("6\n")


def test_workspace_is_as_it_was_at_the_last_look(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "1")
    home.commit("books@master", {"/hamlet": "to be"})
    home.pipeline("count", "books")
    attributes = {"home": str(home.workspace.settings.home), "projects": ["default"]}
    with loaded(PachydermWorkspace, attributes) as (component, definitions):
        assert definitions.resolve_asset_graph().executable_asset_keys == {COUNT}
        home.pipeline("total", "count")
        assert definitions.resolve_asset_graph().executable_asset_keys == {COUNT}
        assert component.defs_state_config.refresh_if_dev


def test_other_projects_of_a_workspace_stay_out(home: Home) -> None:
    home.commit("books@master", {"/hamlet": "to be"})
    home.pipeline("count", "books")
    with loaded(PachydermWorkspace, {"home": str(home.workspace.settings.home), "projects": ["other"]}) as (_, definitions):
        assert not definitions.resolve_asset_graph().get_all_asset_keys()


def test_workspace_beside_declared_pipelines_is_all_the_others(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "1")
    home.commit("books@master", {"/hamlet": "to be"})
    for name, repo in (("count", "books"), ("total", "count"), ("python", "books"), ("other", "total")):
        home.pipeline(name, repo)
    workspace = {"home": str(home.workspace.settings.home), "leave_out": ["default/python"]}
    with create_defs_folder_sandbox() as sandbox:
        declared = Path(sandbox.scaffold_component(component_cls=PachydermPipelines))
        (declared / "defs.yaml").write_text(json.dumps({"type": PIPELINES, "attributes": {"specs": "pipelines.yaml", "home": workspace["home"]}}))
        sandbox.scaffold_component(component_cls=PachydermWorkspace, defs_yaml_contents={"type": WORKSPACE, "attributes": workspace})
        with sandbox.build_all_defs() as definitions:
            graph = definitions.get_repository_def().asset_graph
    other = dg.AssetKey(["default", "other"])
    assert graph.executable_asset_keys == {COUNT, TOTAL, other}
    assert graph.get(other).parent_keys == {TOTAL} and graph.get(COUNT).parent_keys == {BOOKS}
    assert str(graph.get(COUNT).description) == "The words of each book."


def test_missing_file_is_told_by_its_place() -> None:
    with pytest.raises(NotFoundError, match=r"nowhere\.yaml does not exist"):
        dg.build_defs_for_component(PachydermPipelines(specs="nowhere.yaml"))


def types_in(field: Mapping[str, Any]) -> set[str]:
    """What a form can make of a field: its types and the values of its enumerations."""
    parts = [field, *field.get("anyOf", ())]
    named = {str(part["type"]) for part in parts if "type" in part} | {part["$ref"].rpartition("/")[2] for part in parts if "$ref" in part}
    return named | {value for part in parts for value in [*part.get("enum", ()), *([part["const"]] if "const" in part else [])]}


@pytest.mark.parametrize("kind", [PachydermPipelines, PachydermWorkspace])
def test_form_says_what_each_field_is_with_examples_that_it_takes(kind: type[dg.Component]) -> None:
    model = kind.get_model_cls()
    assert model is not None
    schema = model.model_json_schema()
    own = {name: field for name, field in schema["properties"].items() if name != "defs_state"}
    assert {name for name, field in own.items() if not field.get("description") or not field.get("examples")} == set()
    required = {"specs": "pipelines.yaml"} if kind is PachydermPipelines else {}
    for name, field in own.items():
        for example in field["examples"]:
            model.model_validate({**required, name: example})
    assert {"commit", "content"} <= types_in(own["version_by"])
    assert "commit" in types_in(own["partition_by"])
    assert {"AssetSpecUpdateKwargsModel", "string"} <= types_in(own["translation"]) & types_in(own["branch_translation"])
    assert {"OpSpecModel"} <= types_in(own["op"])
    assert schema.get("required", []) == list(required)


def test_launchpad_has_the_configuration_of_a_pipeline_with_types_and_descriptions() -> None:
    with loaded(PachydermPipelines) as (_, definitions):
        fields = definitions.resolve_assets_def(COUNT).op.config_schema.config_type.fields  # type: ignore[union-attr]
    assert {name: field.config_type.inner_type.kind.name for name, field in fields.items()} == {"reprocess": "SCALAR_UNION", "inputs": "MAP"}
    assert all(field.description for field in fields.values()) and not any(field.is_required for field in fields.values())
