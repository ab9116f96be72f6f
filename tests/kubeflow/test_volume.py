"""The export whose tasks share a volume."""

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.kubeflow.options import AccessMode, Options, Transport, Volume
from tests.kubeflow.specs import EDGES, ID, IMAGES, MONTAGE, PINNED, changed, container, exported, pod, tasks

VOLUME = Options(commits={IMAGES: ID}, transport=Transport.VOLUME)
NAME = {"taskOutputParameter": {"outputParameterKey": "name", "producerTask": "make-volume"}}


def test_a_run_makes_its_volume_first_and_removes_it_when_all_is_committed() -> None:
    found = exported(EDGES, MONTAGE, options=Options(transport=Transport.VOLUME, volume=Volume("1Ti", "fast", AccessMode.MANY_NODES)))
    made, removed = (tasks(found)[name] for name in ("make-volume", "remove-volume"))
    assert {name: one["runtimeValue"]["constant"] for name, one in made["inputs"]["parameters"].items()} == {
        "access_modes": ["ReadWriteMany"],
        "pvc_name_suffix": "-pfs",
        "size": "1Ti",
        "storage_class_name": "fast",
    }
    assert removed["dependentTasks"] == ["commit-edges", "commit-montage", "make-volume"]
    assert removed["inputs"]["parameters"] == {"pvc_name": NAME}
    assert [container(found, f"exec-{name}") for name in ("make-volume", "remove-volume")] == [{"image": "argostub/createpvc"}, {"image": "argostub/deletepvc"}]


def test_nothing_comes_from_the_cache_which_does_not_see_a_volume() -> None:
    shared = changed(MONTAGE, parallelism_spec={"constant": 2})
    found = exported(EDGES, shared, options=VOLUME)
    inner = found.pipeline["components"]["comp-run-montage-shares"]["dag"]["tasks"]["run-montage"]
    assert [name for name, task in [*tasks(found).items(), ("inner", inner)] if task.get("cachingOptions")] == []


def test_every_task_of_a_pipeline_sees_the_volume() -> None:
    found = exported(EDGES, options=VOLUME)
    mount = [{**NAME, "mountPath": "/pach", "pvcNameParameter": NAME}]
    assert [pod(found, f"exec-{word}-edges")["pvcMount"] for word in ("stage", "run", "commit")] == [mount] * 3
    assert pod(found, "exec-run-edges")["emptyDirMounts"] == [{"mountPath": "/pfs", "volumeName": "pfs"}]
    assert [pod(found, f"exec-{word}-edges").get("securityContext") for word in ("stage", "run", "commit")] == [{"runAsUser": "0"}, None, {"runAsUser": "0"}]


def test_pods_over_shares_find_the_claim_in_their_graph() -> None:
    found = exported(changed(EDGES, parallelism_spec={"constant": 2}), options=VOLUME)
    name = {"componentInputParameter": "claim"}
    assert pod(found, "exec-run-edges")["pvcMount"] == [{**name, "mountPath": "/pach", "pvcNameParameter": name}]
    assert tasks(found)["run-edges"]["inputs"]["parameters"] == {"claim": NAME}
    assert "artifacts" not in tasks(found)["commit-edges"]["inputs"]


def test_pods_that_need_a_shell_of_their_image_say_so_and_name_the_way_out() -> None:
    found = exported(EDGES, options=PINNED)
    assert "--transport volume" in pod(found, "exec-run-edges")["podMetadata"]["annotations"]["pachyderm-dagster/needs"]
    assert "podMetadata" not in pod(exported(EDGES, options=VOLUME), "exec-run-edges")


def test_user_code_is_run_by_a_shell_that_was_brought() -> None:
    found = container(exported(changed(EDGES, transform__user="1000"), options=VOLUME), "exec-run-edges")
    assert found["command"][:3] == ["/pach/bin/busybox", "sh", "-c"]
    assert found["args"] == ["/pach/pipelines/edges/data", "/pach/pipelines/edges/out", "", "", "0", "python", "/edges.py"]


def test_a_size_is_a_quantity() -> None:
    with pytest.raises(InvalidError, match="10 GB") as raised:
        exported(EDGES, options=Options(transport=Transport.VOLUME, volume=Volume("10 GB")))
    assert raised.value.code == "export-invalid"
