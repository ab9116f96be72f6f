"""Pipelines whose datums run in pods: by the command line, on a real cluster with a real S3 server, through everything that happens to pods and drivers."""

import json
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.cluster.homes import SECONDS, Home, make_home, works
from tests.cluster.images import BUSYBOX, NO_SHELL, NON_ROOT, UPPER, WORKER
from tests.cluster.pods import Namespace
from tests.cluster.running import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def home(namespace: Namespace, image: Callable[[str], str], servers: Mapping[str, str], kubeconfig: Path, tmp_path: Path) -> Home:
    for name in (BUSYBOX, WORKER):
        image(name)
    return make_home(namespace, kubeconfig, servers, tmp_path)


def test_shell_no_shell_and_another_user_each_in_its_image(home: Home, image: Callable[[str], str]) -> None:
    for name in (UPPER, NON_ROOT, NO_SHELL):
        image(name)
    home.put(a="one", b="two")
    home.create("shell", parallelism_spec={"constant": 2})
    home.create("upper", UPPER, ["/upper", "/pfs/data", "/pfs/out"])
    home.create("user", NON_ROOT, ["sh", "-c", "id -u > /pfs/out/$(basename /pfs/data/*)"])
    home.create("python", NO_SHELL, ["python3", "-c", "import shutil, os; [shutil.copy('/pfs/data/' + n, '/pfs/out/') for n in os.listdir('/pfs/data')]"])
    for name, a in (("shell", "one"), ("upper", "ONE"), ("user", "1000\n"), ("python", "one")):
        job = home.run(name)
        assert (name, job["state"], job["reason"]) == (name, "SUCCESS", "")
        assert home.read("/a", name) == a
        assert any(re.fullmatch(rf"Job {name}-v1-\S+: \d of \d pods work", line) for line in home.log(job["run_id"]))
    home.wait_for(home.is_clean)


def test_failed_datum_names_its_exit_code_and_keeps_its_log(home: Home) -> None:
    home.put(good="fine", bad="not fine")
    home.create(cmd=["sh", "-c", "echo looking; ! test -e /pfs/data/bad || exit 3; cp /pfs/data/* /pfs/out/"], datum_tries=1)
    job = home.run()
    assert job["state"] == "FAILURE"
    assert "exit code 3" in job["reason"]
    assert "looking" in home("logs", "--pipeline", "copy")
    home.wait_for(home.is_clean)


def test_image_that_is_not_there_crashes_the_pipeline_until_it_is_another(home: Home) -> None:
    home.put(a="one")
    home.create(image="localhost/nowhere:1")
    driver = home.start("wait", "commit", "copy@master")

    def crash() -> str:
        found = json.loads(home("inspect", "pipeline", "copy", "-o", "json"))
        return found["reason"] if found["state"] == "CRASHING" else ""

    assert "localhost/nowhere:1" in home.wait_for(crash)
    spec = json.loads(home("inspect", "pipeline", "copy", "-o", "json"))["spec"]
    spec["transform"]["image"] = BUSYBOX
    home("update", "pipeline", "-f", "-", stdin=json.dumps(spec))
    driver.communicate(timeout=SECONDS)
    assert home.run()["state"] == "SUCCESS"
    assert json.loads(home("inspect", "pipeline", "copy", "-o", "json"))["state"] == "RUNNING"
    home.wait_for(home.is_clean)


def test_pods_that_fit_nowhere_start_when_there_is_room(home: Home) -> None:
    home.put(a="one")
    home.create(scheduling_spec={"node_selector": {"test": home.namespace.name}})
    driver = home.start("wait", "commit", "copy@master")
    home.wait_for(lambda: json.loads(home("inspect", "pipeline", "copy", "-o", "json"))["state"] == "CRASHING")
    (node, *_) = home.namespace.core.list_node().items
    try:
        home.namespace.core.patch_node(node.metadata.name, {"metadata": {"labels": {"test": home.namespace.name}}})
        driver.communicate(timeout=SECONDS)
    finally:
        home.namespace.core.patch_node(node.metadata.name, {"metadata": {"labels": {"test": None}}})
    assert home.job()["state"] == "SUCCESS"
    assert json.loads(home("inspect", "pipeline", "copy", "-o", "json"))["state"] == "RUNNING"


def test_secrets_of_the_home_and_of_the_cluster_and_a_patch_reach_user_code(home: Home) -> None:
    home.namespace.core.create_namespaced_secret(home.namespace.name, {"metadata": {"name": "theirs"}, "stringData": {"word": "cluster"}})
    home("create", "secret", "-f", "-", stdin=json.dumps({"kind": "Secret", "metadata": {"name": "ours"}, "stringData": {"word": "home", "file": "kept"}}))
    home.put(a="one")
    secrets = [
        {"name": "ours", "key": "word", "env_var": "OURS"},
        {"name": "ours", "mount_path": "/ours"},
        {"name": "theirs", "key": "word", "env_var": "THEIRS"},
    ]
    script = 'echo "$OURS $THEIRS $(cat /ours/file) $PLAIN $PATCHED $PACH_NAMESPACE" > /pfs/out/said; ls /scratch >> /pfs/out/said; ! env | grep AWS_'
    patch = [
        {"op": "add", "path": "/volumes/-", "value": {"name": "scratch", "emptyDir": {}}},
        {"op": "add", "path": "/containers/0/volumeMounts/-", "value": {"name": "scratch", "mountPath": "/scratch"}},
        {"op": "add", "path": "/containers/0/env/-", "value": {"name": "PATCHED", "value": "patched"}},
    ]
    home.create(cmd=["sh", "-c", script], transform={"secrets": secrets, "env": {"PLAIN": "plain"}}, pod_patch=json.dumps(patch))
    assert (job := home.run())["state"] == "SUCCESS", job
    assert home.read("/said") == f"home cluster kept plain patched {home.namespace.name}\n"
    home.wait_for(lambda: [one.metadata.name for one in home.namespace.core.list_namespaced_secret(home.namespace.name).items] == ["store", "theirs"])


def test_datum_that_wants_more_memory_than_there_is_fails_and_says_so(home: Home) -> None:
    home.put(a="small", b="large")
    script = "if test -e /pfs/data/b; then exec tail /dev/zero; fi; cp /pfs/data/* /pfs/out/"
    home.create(cmd=["sh", "-c", script], datum_tries=1, resource_limits={"memory": "64Mi"})
    job = home.run()
    assert job["state"] == "FAILURE"
    assert "/b" in job["reason"]
    assert "[out-of-memory]" in job["reason"]
    # Where the kernel ends the whole container for it (cgroup v2), or one process (v1).
    assert "of 64Mi" in job["reason"] or f"{64 << 20} bytes" in job["reason"]


def test_datum_that_stores_more_than_there_is_room_for_fails_and_says_so(home: Home) -> None:
    home.put(a="small", b="large")
    script = "if test -e /pfs/data/b; then dd if=/dev/zero of=/pfs/out/large bs=1M count=64; exec sleep 1000; fi; cp /pfs/data/* /pfs/out/"
    home.create(cmd=["sh", "-c", script], datum_tries=1, resource_limits={"disk": "16Mi"})
    job = home.run()
    assert job["state"] == "FAILURE"
    assert "/b" in job["reason"]
    assert "[disk-full]" in job["reason"]
    home.wait_for(home.is_clean)


def test_killed_pod_and_killed_driver_lose_nothing_and_do_nothing_twice(home: Home) -> None:
    home.put(**{f"f{number}": f"{number}\n" for number in range(40)})
    home.create(cmd=["sh", "-c", "sleep 0.5; cp /pfs/data/* /pfs/out/"], parallelism_spec={"constant": 2})
    driver = home.start("wait", "commit", "copy@master")
    home.wait_for(lambda: len([pod for pod in home.pods() if works(pod)]) == 2)
    victim = next(pod for pod in home.pods() if works(pod))
    home.namespace.core.delete_namespaced_pod(victim.metadata.name, home.namespace.name, grace_period_seconds=0)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    (left,) = home.namespace.batch.list_namespaced_job(home.namespace.name).items
    job = home.run()
    assert (job["state"], job["data_processed"]) == ("SUCCESS", 40)
    assert all(home.read(f"/f{number}") == f"{number}\n" for number in (0, 17, 39))
    assert len(home("list", "file", "copy@master", "-o", "json").split('"path"')) == 41
    assert left.metadata.uid
    home.wait_for(home.is_clean)


def test_sets_of_a_pod_that_goes_without_a_word_are_taken_over_by_one_that_lives(home: Home, servers: Mapping[str, str], made_here: Cluster) -> None:
    etcd = servers["TEST_ETCD_URL"]
    home.environ = {**home.environ, "PACHYDERM_COORDINATION_URL": etcd, "PACHYDERM_KUBERNETES_COORDINATION_URL": etcd}
    home.put(**{f"f{number}": f"{number}\n" for number in range(24)})
    home.create(cmd=["sh", "-c", "sleep 0.5; cp /pfs/data/* /pfs/out/; hostname > /pfs/out/host-$(basename /pfs/data/*)"], parallelism_spec={"constant": 2})
    driver = home.start("wait", "commit", "copy@master")
    home.wait_for(lambda: len([pod for pod in home.pods() if works(pod)]) == 2)
    victim = next(pod for pod in home.pods() if works(pod))
    # As on a node that is cut off: nothing of the pod runs, and nobody says so.
    made_here.freeze(victim.metadata.uid)
    try:
        job = home.wait_for(lambda: job if (job := home.job())["state"] == "SUCCESS" else None)
        assert job["data_processed"] == 24
        found = home.read_all()
    finally:
        made_here.thaw(victim.metadata.uid)
    driver.communicate(timeout=SECONDS)
    assert {name: text for name, text in found.items() if name.startswith("f")} == {f"f{number}": f"{number}\n" for number in range(24)}
    home.wait_for(home.is_clean)


def test_stopped_job_leaves_nothing(home: Home) -> None:
    home.put(a="one")
    home.create(cmd=["sh", "-c", "sleep 1000"])
    driver = home.start("wait", "commit", "copy@master")
    home.wait_for(lambda: any(works(pod) for pod in home.pods()))
    home("stop", "job", f"copy@{home.job()['id']}")
    driver.communicate(timeout=SECONDS)
    assert home.job()["state"] == "KILLED"
    assert home.is_clean()


def test_five_hundred_datums_over_four_pods_run_once_each(home: Home) -> None:
    home.put(**{f"f{number:03}": f"{number}\n" for number in range(500)})
    home.create(cmd=["sh", "-c", "cp /pfs/data/* /pfs/out/; hostname > /pfs/out/host-$(basename /pfs/data/*)"], parallelism_spec={"constant": 4})
    job = home.run()
    assert (job["state"], job["data_processed"]) == ("SUCCESS", 500)
    found = home.read_all()
    assert {name: text for name, text in found.items() if name.startswith("f")} == {f"f{number:03}": f"{number}\n" for number in range(500)}
    assert len({text for name, text in found.items() if name.startswith("host-")}) > 1
