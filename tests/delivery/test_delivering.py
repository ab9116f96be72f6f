"""Delivering a value to a Deployment: the way there, the way back, and what happens in between."""

import dataclasses
import json
from typing import Any

import pytest

from pachyderm_dagster.delivery.delivering import Courier, Delivered, Delivery
from pachyderm_dagster.errors import ExecutionError, InvalidError, StateError, UnreachableError
from tests.delivery.deployments import FakeCluster

TWO = Delivery("web", "MODEL", "two", seconds=60)


def not_two(value: str | None) -> bool:
    return value != "two"


def deliver(cluster: FakeCluster, delivery: Delivery = TWO) -> tuple[Delivered, list[str]]:
    said: list[str] = []
    return Courier(cluster, cluster.clock, said.append, cluster.pause).deliver(delivery), said


def test_all_pods_have_the_new_value_when_it_is_delivered() -> None:
    cluster = FakeCluster()
    delivered, said = deliver(cluster)
    assert cluster.served() == {"two"}
    assert dataclasses.replace(delivered, seconds=0) == Delivered("two", "one", "server:1", "1", pods=2, seconds=0, changed=True)
    assert said[0] == "MODEL of 'web' is two from now on; it was one"
    assert said[-1] == "'web': 2 pods serve"


def test_other_variables_stay() -> None:
    cluster = FakeCluster()
    deliver(cluster)
    env = cluster.deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "OTHER", "value": "x"} in env and len(env) == 2


def test_value_that_is_served_already_changes_nothing() -> None:
    cluster = FakeCluster()
    delivered, said = deliver(cluster, Delivery("web", "MODEL", "one"))
    assert (delivered.changed, cluster.patches, said) == (False, [], ["'web': 2 pods serve"])


def test_value_whose_pods_crash_is_taken_back_with_the_words_of_the_pod() -> None:
    cluster = FakeCluster(works=not_two, crashes=lambda value: value == "two")
    with pytest.raises(ExecutionError) as caught:
        deliver(cluster)
    assert caught.value.code == "rollout-failed"
    assert "has ended 2 times, last with exit code 1 (Error); it said:\nserver cannot load two" in caught.value.message
    assert caught.value.message.endswith("rolled back: MODEL is one again")
    assert cluster.served() == {"one"} and cluster.value == "one"
    assert "pachyderm-dagster/before" not in cluster.deployment["metadata"]["annotations"]


def test_value_whose_pods_are_never_ready_is_taken_back_when_the_time_is_over() -> None:
    cluster = FakeCluster(works=not_two)
    with pytest.raises(ExecutionError, match=r"after 1m container server of pod web-3 runs, but is not ready; it said:\nserver cannot load two"):
        deliver(cluster)
    assert cluster.served() == {"one"} and cluster.value == "one"


def test_word_of_the_cluster_that_the_rollout_failed_counts_once_it_is_of_this_rollout() -> None:
    old = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "old news", "lastUpdateTime": "1"}
    cluster = FakeCluster(works=not_two)
    cluster.deployment["status"]["conditions"] = [old]
    cluster.waits = [lambda: None, lambda: cluster.deployment["status"].update(conditions=[{**old, "message": "no progress", "lastUpdateTime": "2"}])]
    with pytest.raises(ExecutionError, match="two: no progress container server of pod web-3 runs, but is not ready"):
        deliver(cluster)
    # On the way back it is old news again.
    assert cluster.served() == {"one"}


@pytest.mark.parametrize("before", [None, {"name": "MODEL", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}])
def test_variable_that_had_no_value_of_its_own_is_as_before_after_the_way_back(before: dict[str, Any] | None) -> None:
    cluster = FakeCluster(works=not_two)
    container = cluster.deployment["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [] if before is None else [before]
    for name, _ in cluster.running:
        cluster._values[name] = None
    with pytest.raises(ExecutionError, match="rolled back: MODEL is (not set|taken from elsewhere) again"):
        deliver(cluster)
    assert cluster.entry("server") == before


def test_value_that_was_served_and_has_trouble_later_is_not_taken_back() -> None:
    cluster = FakeCluster()
    deliver(cluster)
    patched = len(cluster.patches)
    # Weeks later: not because of the value.
    cluster.works = not_two
    cluster._write_status()
    with pytest.raises(ExecutionError, match="all pods have had it before, so that nothing was set back"):
        deliver(cluster)
    assert cluster.value == "two" and len(cluster.patches) == patched


def test_who_goes_on_after_a_death_in_the_middle_knows_the_way_back() -> None:
    class Killed(BaseException):
        pass

    cluster = FakeCluster(works=not_two)

    def die() -> None:
        raise Killed

    cluster.waits = [lambda: None, die]
    with pytest.raises(Killed):
        deliver(cluster)
    assert cluster.value == "two"
    with pytest.raises(ExecutionError, match="rolled back: MODEL is one again"):
        deliver(cluster)
    assert cluster.served() == {"one"}


def test_value_that_somebody_else_set_and_that_fails_is_left_with_a_word() -> None:
    cluster = FakeCluster(works=not_two)
    cluster._set("server", [{"name": "MODEL", "value": "two"}])
    cluster.pause(1)
    with pytest.raises(ExecutionError, match="what was there before is not known"):
        deliver(cluster)
    assert cluster.value == "two"


def test_newer_value_of_somebody_else_stays() -> None:
    cluster = FakeCluster()

    def overtake() -> None:
        cluster._set("server", [{"name": "MODEL", "value": "three"}])
        cluster.changed(generation=1)

    cluster.waits = [overtake]
    with pytest.raises(StateError, match="was to be two, and somebody has made it three meanwhile") as caught:
        deliver(cluster)
    assert caught.value.code == "delivery-overtaken"
    assert cluster.value == "three"


def test_change_that_meets_another_one_is_made_again() -> None:
    cluster = FakeCluster()
    cluster.refused_patches = 2
    assert deliver(cluster)[0].changed
    assert cluster.served() == {"two"}


def test_cluster_that_is_silent_for_a_while_is_waited_for_and_one_that_stays_so_is_told() -> None:
    cluster = FakeCluster()
    cluster.waits = [lambda: setattr(cluster, "silent_calls", 5)]
    deliver(cluster)
    assert cluster.served() == {"two"}

    cluster.waits = [lambda: setattr(cluster, "silent_calls", 1000)]
    with pytest.raises(UnreachableError, match="cluster-unreachable"):
        deliver(cluster, Delivery("web", "MODEL", "three", seconds=60))


def test_paused_deployment_is_refused_before_anything_changes() -> None:
    cluster = FakeCluster()
    cluster.deployment["spec"]["paused"] = True
    with pytest.raises(StateError, match="kubectl rollout resume deployment/web"):
        deliver(cluster)
    assert cluster.patches == []


def test_container_has_to_be_named_where_it_is_not_clear() -> None:
    cluster = FakeCluster()
    containers = cluster.deployment["spec"]["template"]["spec"]["containers"]
    containers.append({"name": "proxy", "image": "proxy:1", "env": []})
    # The one that has the variable.
    deliver(cluster)
    with pytest.raises(InvalidError, match="has several containers, and none has the variable OF_NONE; name one of 'server', 'proxy'"):
        deliver(cluster, Delivery("web", "OF_NONE", "two"))
    with pytest.raises(InvalidError, match="has no container 'sidecar'"):
        deliver(cluster, Delivery("web", "MODEL", "two", container="sidecar"))


def test_what_lets_requests_fail_is_said_before() -> None:
    cluster = FakeCluster()
    cluster.deployment["spec"]["strategy"] = {"type": "Recreate"}
    del cluster.deployment["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    said = deliver(cluster)[1]
    assert "its strategy is Recreate" in said[0] and "has no readinessProbe" in said[1]


def test_annotation_tells_what_was_replaced() -> None:
    cluster = FakeCluster()
    deliver(cluster)
    kept = json.loads(cluster.deployment["metadata"]["annotations"]["pachyderm-dagster/before"])
    assert kept == {"container": "server", "env": "MODEL", "value": "two", "entry": {"name": "MODEL", "value": "one"}, "served": True}
