"""Runs in Kubeflow, by way of an API server on this machine: started once, followed, ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError, UnreachableError
from pachyderm_dagster.kubeflow.api import KubeflowApi
from pachyderm_dagster.kubeflow.runs import SILENT_SECONDS, RunRequest, check_parameters, end_run, follow_run, parse_pipeline, start_run
from tests.kubeflow.api_server import ApiServer, Document, api_server, finish
from tests.kubeflow.specs import EDGES, ID, exported


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server(ApiServer(advance=finish)) as found:
        yield found


def request(name: str = "one", **fields: object) -> RunRequest:
    found = exported(EDGES)
    return RunRequest(name, found.pipeline, found.platform, {"images_commit": ID}, **fields)  # type: ignore[arg-type]


def follow(api: KubeflowApi, run: Document) -> list[str]:
    told: list[str] = []
    follow_run(api, run["run_id"], wait=lambda _seconds: None, tell=told.append)
    return told


def test_a_run_is_started_and_followed_to_its_end(server: ApiServer) -> None:
    api = KubeflowApi(server.url)
    run, was_there = start_run(api, request(service_account="runner"))
    assert not was_there
    assert follow(api, run) == ["task edges: RUNNING", "run: RUNNING", "task edges: SUCCEEDED", "run: SUCCEEDED"]
    (made,) = server.runs.values()
    assert (made["display_name"], made["runtime_config"], made["service_account"]) == ("one", {"parameters": {"images_commit": ID}}, "runner")
    assert made["pipeline_spec"].keys() == {"pipeline_spec", "platform_spec"}
    assert server.experiments[made["experiment_id"]]["display_name"] == "Default"


def test_an_experiment_is_made_once(server: ApiServer) -> None:
    api = KubeflowApi(server.url)
    for name in ("a", "b"):
        start_run(api, request(name, experiment="mine"))
    assert [one["display_name"] for one in server.experiments.values()] == ["mine"]


def test_a_run_that_goes_on_is_found_and_one_that_has_ended_is_not(server: ApiServer) -> None:
    api = KubeflowApi(server.url)
    first, _ = start_run(api, request())
    assert start_run(api, request())[0]["run_id"] == first["run_id"]
    assert start_run(api, request("one_2"))[1] is False
    follow(api, first)
    again, was_there = start_run(api, request())
    assert not was_there and again["run_id"] != first["run_id"]


def test_a_failure_says_in_which_task_and_why(server: ApiServer) -> None:
    server.advance = lambda run: finish(run, failing="edges")
    api = KubeflowApi(server.url)
    with pytest.raises(ExecutionError, match=r"ended as FAILED, in edges: exit status 3"):
        follow(api, start_run(api, request())[0])


def test_a_failure_for_want_of_a_shell_names_the_way_out(server: ApiServer) -> None:
    server.advance = lambda run: finish(run, failing="edges", said='exec: "sh": executable file not found in $PATH')
    api = KubeflowApi(server.url)
    with pytest.raises(ExecutionError, match="no shell: export the pipeline with --transport volume"):
        follow(api, start_run(api, request())[0])


def test_a_run_is_ended(server: ApiServer) -> None:
    api = KubeflowApi(server.url)
    run, _ = start_run(api, request())
    end_run(api, run["run_id"])
    with pytest.raises(ExecutionError, match="CANCELED"):
        follow(api, run)
    asked = len(server.asked)
    end_run(api, run["run_id"])
    assert [path for _, path, _ in server.asked[asked:]] == [f"/apis/v2beta1/runs/{run['run_id']}"]


def test_a_server_that_is_away_for_a_moment_is_waited_for(server: ApiServer) -> None:
    api = KubeflowApi(server.url)
    run, _ = start_run(api, request())
    server.down = 3
    told = follow(api, run)
    assert [line.partition(":")[0] for line in told[:3]] == ["note"] * 3
    assert told[-1] == "run: SUCCEEDED"


def test_a_server_that_is_away_for_long_is_given_up(server: ApiServer) -> None:
    api = KubeflowApi(server.url)
    run, _ = start_run(api, request())
    server.down = 1000
    waited: list[float] = []
    with pytest.raises(UnreachableError) as raised:
        follow_run(api, run["run_id"], wait=waited.append, tell=lambda _line: None)
    assert raised.value.code == "kubeflow-unreachable"
    assert sum(waited) == SILENT_SECONDS


def test_nobody_there_is_told() -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        KubeflowApi("http://127.0.0.1:9").get_run("x")


def test_what_the_server_says_is_told(server: ApiServer) -> None:
    api = KubeflowApi(server.url)
    with pytest.raises(NotFoundError, match="not found"):
        api.get_run("none")
    with pytest.raises(InvalidError, match="pipeline_spec is invalid"):
        api.create_run({"display_name": "x", "pipeline_spec": {}})


def test_the_token_is_read_for_each_request(server: ApiServer, tmp_path: Path) -> None:
    server.token = "secret"
    file = tmp_path / "token"
    file.write_text("secret\n")
    api = KubeflowApi(server.url, token_file=str(file))
    assert api.list_run("x") == []
    file.write_text("old")
    with pytest.raises(InvalidError, match="who are you"):
        api.list_run("x")
    file.unlink()
    with pytest.raises(InvalidError, match="cannot be read"):
        api.list_run("x")
    assert KubeflowApi(server.url, token="secret").list_run("x") == []
    assert "secret" not in repr(KubeflowApi(server.url, token="secret"))


def test_a_namespace_is_asked_for(server: ApiServer) -> None:
    KubeflowApi(server.url, namespace="ann").ensure_experiment("mine")
    assert server.asked[-1][2] == {"display_name": "mine", "namespace": "ann"}


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "kind: Workflow"])
def test_other_files_are_no_pipelines(text: str) -> None:
    with pytest.raises(InvalidError) as raised:
        parse_pipeline(text, "x.yaml")
    assert raised.value.code == "pipeline-file-invalid"


def test_an_export_is_a_pipeline_file() -> None:
    found = exported(EDGES)
    assert parse_pipeline(found.to_yaml(), "x.yaml") == (found.pipeline, found.platform)


def test_parameters_are_those_of_the_pipeline() -> None:
    pipeline = exported(EDGES).pipeline
    check_parameters(pipeline, {})
    check_parameters(pipeline, {"images_commit": ID})
    with pytest.raises(InvalidError, match="it has images_commit"):
        check_parameters(pipeline, {"image": ID})
    with pytest.raises(InvalidError, match="needs a"):
        check_parameters({"root": {"inputDefinitions": {"parameters": {"a": {"parameterType": "STRING"}}}}}, {})
