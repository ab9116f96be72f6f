"""What an export of pipelines is."""

import json

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.exported.graph import read_outside
from pachyderm_dagster.kubeflow.export import export_pipelines
from pachyderm_dagster.kubeflow.options import Options
from pachyderm_dagster.pps.spec import PipelineSpec
from tests.kubeflow.specs import EDGES, ID, IMAGES, MONTAGE, changed, container, documents_of, exported, specs, tasks


def test_commits_from_outside_are_parameters_with_what_was_there_as_default() -> None:
    parameters = exported(EDGES, MONTAGE).pipeline["root"]["inputDefinitions"]["parameters"]
    assert {name: (one["parameterType"], one["defaultValue"]) for name, one in parameters.items()} == {"images_commit": ("STRING", ID)}
    assert read_outside(specs(EDGES, MONTAGE)) == [IMAGES]


def test_a_pipeline_reads_the_commit_that_another_of_the_export_makes() -> None:
    stage = tasks(exported(MONTAGE, EDGES))["stage-montage"]
    assert stage["inputs"]["parameters"] == {
        "images_commit": {"componentInputParameter": "images_commit"},
        "edges_commit": {"taskOutputParameter": {"outputParameterKey": "commit", "producerTask": "commit-edges"}},
    }
    assert stage["dependentTasks"] == ["commit-edges"]


def test_one_task_gets_the_inputs_of_each_pipeline_because_a_glob_is_of_an_input() -> None:
    found = exported(EDGES, MONTAGE)
    globs = {}
    for word in ("edges", "montage"):
        args = container(found, f"exec-stage-{word}")["args"]
        read = json.loads(args[args.index("--spec") + 1])["input"]
        globs[word] = [leaf["pfs"]["glob"] for leaf in read.get("cross", [read])]
    assert globs == {"edges": ["/*"], "montage": ["/", "/"]}


def test_what_is_pinned_may_come_from_the_cache_and_a_commit_never_does() -> None:
    found = tasks(exported(EDGES))
    assert {name: task["cachingOptions"] for name, task in found.items()} == {
        "stage-edges": {"enableCache": True},
        "run-edges": {"enableCache": True},
        "commit-edges": {},
    }
    assert "--pinned" in container(exported(EDGES), "exec-stage-edges")["args"]


def test_what_reads_the_head_never_comes_from_the_cache() -> None:
    found = exported(EDGES, MONTAGE, options=Options())
    assert [tasks(found)[f"stage-{word}"]["cachingOptions"] for word in ("edges", "montage")] == [{}, {}]
    assert "--pinned" not in container(found, "exec-stage-edges")["args"]
    assert found.pipeline["root"]["inputDefinitions"]["parameters"]["images_commit"]["defaultValue"] == ""


def test_a_pipeline_that_reads_only_commits_of_the_run_may_come_from_the_cache() -> None:
    counted = changed(EDGES, pipeline={"name": "count"}, input={"pfs": {"repo": "edges", "glob": "/"}})
    assert tasks(exported(EDGES, counted, options=Options()))["stage-count"]["cachingOptions"] == {"enableCache": True}


def test_every_job_means_never_from_the_cache() -> None:
    assert tasks(exported(changed(EDGES, reprocess_spec="every_job")))["run-edges"]["cachingOptions"] == {}


def test_parallel_workers_are_pods_over_shares_whose_outputs_are_committed_together() -> None:
    found = exported(changed(EDGES, parallelism_spec={"constant": 3}))
    loop = tasks(found)["run-edges"]
    assert loop["parameterIterator"] == {"itemInput": "share-loop-item", "items": {"raw": '["0", "1", "2"]'}}
    assert loop["iteratorPolicy"] == {"parallelismLimit": 3}
    assert tasks(found)["commit-edges"]["inputs"]["artifacts"] == {"out": {"taskOutputArtifact": {"outputArtifactKey": "out", "producerTask": "run-edges"}}}
    assert found.pipeline["components"]["comp-commit-edges"]["inputDefinitions"]["artifacts"]["out"]["isArtifactList"] is True


def test_the_program_of_a_command_is_no_placeholder() -> None:
    found = exported(EDGES, MONTAGE).pipeline["deploymentSpec"]["executors"]
    assert [one["container"]["command"][0] for one in found.values()] == ["pachyderm-dagster", "sh", "pachyderm-dagster"] * 2


def test_names_that_kubeflow_does_not_take_are_written_otherwise() -> None:
    one, other = changed(EDGES, pipeline={"name": "Find_Edges"}), changed(EDGES, pipeline={"name": "find-edges"})
    found = exported(one, other)
    assert sorted(tasks(found)) == sorted(f"{verb}-{word}" for verb in ("stage", "run", "commit") for word in ("find-edges", "find-edges-2"))
    assert found.pipeline["pipelineInfo"]["name"] == "find-edges"


def test_branches_and_projects_are_in_the_names_of_parameters() -> None:
    read = {"cross": [{"pfs": {"repo": "a-b", "glob": "/", "branch": "dev"}}, {"pfs": {"repo": "9x", "project": "other", "glob": "/", "name": "x"}}]}
    parameters = exported(changed(EDGES, input=read)).pipeline["root"]["inputDefinitions"]["parameters"]
    assert sorted(parameters) == ["a_b_dev_commit", "other_9x_commit"]


@pytest.mark.parametrize("pipelines", [[], specs(EDGES, EDGES)])
def test_an_export_is_of_different_pipelines(pipelines: list[PipelineSpec]) -> None:
    with pytest.raises(InvalidError, match="name each once") as raised:
        export_pipelines(pipelines, Options())
    assert raised.value.code == "export-invalid"


def test_a_circle_is_refused() -> None:
    back = changed(EDGES, input={"pfs": {"repo": "montage", "glob": "/"}})
    with pytest.raises(InvalidError, match="circle"):
        exported(back, MONTAGE)


def test_equal_exports_are_equal_texts_that_read_back() -> None:
    found = exported(EDGES, MONTAGE)
    assert found.to_yaml() == exported(EDGES, MONTAGE).to_yaml()
    assert documents_of(found.to_yaml()) == [found.pipeline, found.platform]


def test_a_pipeline_that_kfp_would_take_for_one_task_is_refused() -> None:
    with pytest.raises(InvalidError, match="another --name"):
        exported(EDGES, options=Options(name="run-edges"))
