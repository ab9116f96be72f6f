"""What a home says of the cluster that its jobs run on."""

import math

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.settings import load_settings

HOME = {
    "PACHYDERM_HOME": "/nowhere",
    "PACHYDERM_EXECUTOR": "kubernetes",
    "PACHYDERM_STORAGE_URL": "s3://bucket",
    "PACHYDERM_KUBERNETES_WORKER_IMAGE": "worker:1",
}
ETCD = "etcd://etcd.lab:2379"


def test_workers_claim_in_the_store_unless_an_etcd_is_named_for_them() -> None:
    found = load_settings(HOME).kubernetes
    assert found is not None and found.coordination_url == ""
    found = load_settings(HOME | {"PACHYDERM_COORDINATION_URL": "etcd://127.0.0.1:2379", "PACHYDERM_KUBERNETES_COORDINATION_URL": ETCD}).kubernetes
    assert found is not None and found.coordination_url == ETCD


@pytest.mark.parametrize("said", [{}, {"PACHYDERM_COORDINATION_URL": ETCD, "PACHYDERM_KUBERNETES_COORDINATION_URL": "http://etcd.lab:2379"}])
def test_an_etcd_for_pods_is_the_home_s(said: dict[str, str]) -> None:
    with pytest.raises(InvalidError, match="name the same etcd"):
        load_settings(HOME | {"PACHYDERM_KUBERNETES_COORDINATION_URL": ETCD} | said)


def test_password_of_the_etcd_for_pods_does_not_come_into_the_store_by_its_url() -> None:
    with pytest.raises(InvalidError, match="ETCDCTL_PASSWORD in the Secret") as caught:
        load_settings(HOME | {"PACHYDERM_COORDINATION_URL": ETCD, "PACHYDERM_KUBERNETES_COORDINATION_URL": "etcd://me:word@etcd.lab:2379"})
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(("said", "seconds"), [("", 300.0), ("0", 0.0), ("90", 90.0), ("never", math.inf)])
def test_workers_that_stay_do_so_for_five_minutes_unless_said(said: str, seconds: float) -> None:
    found = load_settings(HOME | {"PACHYDERM_KUBERNETES_COOLDOWN_SECONDS": said}).kubernetes
    assert found is not None and found.cooldown_seconds == seconds


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(InvalidError, match="PACHYDERM_KUBERNETES_COOLDOWN_SECONDS is '5m'"):
        load_settings(HOME | {"PACHYDERM_KUBERNETES_COOLDOWN_SECONDS": "5m"})


def test_the_pod_that_workflows_go_with_is_told_by_its_name_and_its_uid() -> None:
    found = load_settings(HOME | {"PACHYDERM_KUBERNETES_OWNER": "run/1-2"}).kubernetes
    assert found is not None and found.owner == "run/1-2"
    with pytest.raises(InvalidError, match="NAME/UID"):
        load_settings(HOME | {"PACHYDERM_KUBERNETES_OWNER": "run/"})


@pytest.mark.parametrize("said", ["Lab", "a/b", "-a", "a" * 64, "a.b"])
def test_what_no_namespace_is_called_is_refused(said: str) -> None:
    with pytest.raises(InvalidError, match="PACHYDERM_KUBERNETES_NAMESPACE is '.*' .environment., which no namespace is called"):
        load_settings(HOME | {"PACHYDERM_KUBERNETES_NAMESPACE": said})
