"""Pipelines whose workers stay between jobs, on a real cluster: by the command line, through a second commit, deaths, scaling, an update and the end."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.cluster.homes import Home, make_home, works
from tests.cluster.images import BUSYBOX, WORKER
from tests.cluster.pods import Namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def home(namespace: Namespace, image: Callable[[str], str], servers: Mapping[str, str], kubeconfig: Path, tmp_path: Path) -> Home:
    for name in (BUSYBOX, WORKER):
        image(name)
    return make_home(namespace, kubeconfig, servers, tmp_path)


def uids(home: Home) -> list[str]:
    """Of the pods that work, as the API server knows it: a job may have ended before the kubelet tells that its pod runs."""
    return sorted(pod.metadata.uid for pod in home.pods() if works(pod) and pod.metadata.deletion_timestamp is None)


def wait_for_uids(home: Home, count: int) -> list[str]:
    found: list[str] = home.wait_for(lambda: there if len(there := uids(home)) == count else [])
    return found


def test_pods_serve_job_after_job_come_and_go_and_end_with_their_pipeline(home: Home) -> None:
    secret = {"kind": "Secret", "metadata": {"name": "ours"}, "stringData": {"word": "home"}}
    home("create", "secret", "-f", "-", stdin=json.dumps(secret))
    home.put(a="one")
    uses = {"secrets": [{"name": "ours", "key": "word", "env_var": "OURS"}]}
    first_env, second_env = ({"env": {"N": number}} for number in ("1", "2"))
    home.create(cmd=["sh", "-c", 'cp /pfs/data/* /pfs/out/; echo "$OURS $N" > /pfs/out/said'], transform=uses | first_env, autoscaling=True, glob="/")
    assert home.run()["state"] == "SUCCESS"
    (first,) = wait_for_uids(home, 1)
    home.put(b="two")
    assert home.run()["state"] == "SUCCESS"
    assert (uids(home), home.read("/b"), home.read("/said")) == ([first], "two", "home 1\n")
    # Without a job for as long as the home says, nothing is left of them but the Deployment.
    home.environ = {**home.environ, "PACHYDERM_KUBERNETES_COOLDOWN_SECONDS": "0"}
    home.put(c="three")
    assert home.run()["state"] == "SUCCESS"
    home.wait_for(lambda: not home.pods())
    home.environ = {**home.environ, "PACHYDERM_KUBERNETES_COOLDOWN_SECONDS": "300"}
    home.put(d="four")
    assert home.run()["state"] == "SUCCESS"
    (second,) = wait_for_uids(home, 1)
    assert second != first
    home.create(cmd=["sh", "-c", 'echo "$OURS $N" > /pfs/out/said'], transform=uses | second_env, autoscaling=True, glob="/", update=True)
    assert home.run()["state"] == "SUCCESS"
    assert home.read("/said") == "home 2\n"
    home.wait_for(lambda: len(uids(home)) == 1 and uids(home) != [second])
    home("delete", "pipeline", "copy")
    home.wait_for(home.is_clean)


def test_killed_pod_and_stopped_job_leave_the_workers_to_go_on(home: Home) -> None:
    home.put(**{f"f{number}": f"{number}\n" for number in range(12)})
    script = "test ! -e /pfs/data/g || exec sleep 1000; sleep 0.5; cp /pfs/data/* /pfs/out/"
    home.create(cmd=["sh", "-c", script], parallelism_spec={"constant": 2}, autoscaling=True)
    driver = home.start("wait", "commit", "copy@master")
    wait_for_uids(home, 2)
    victim = next(pod for pod in home.pods() if works(pod))
    home.namespace.core.delete_namespaced_pod(victim.metadata.name, home.namespace.name, grace_period_seconds=0)
    driver.communicate(timeout=240)
    job = home.job()
    assert (job["state"], job["data_processed"]) == ("SUCCESS", 12)
    assert home.read_all() == {f"f{number}": f"{number}\n" for number in range(12)}
    there = wait_for_uids(home, 2)
    home.put(g="waits")
    driver = home.start("wait", "commit", "copy@master")
    home.wait_for(lambda: home.job()["state"] == "RUNNING")
    home("stop", "job", f"copy@{home.job()['id']}")
    driver.communicate(timeout=240)
    assert home.job()["state"] == "KILLED"
    home("delete", "file", "data@master:/g")
    home("put", "file", "data@master:/h", "-f", "-", stdin="goes on")
    assert home.run()["state"] == "SUCCESS"
    assert wait_for_uids(home, 2) == there
