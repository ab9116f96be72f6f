"""The cluster that tests run on, and the servers that its pods reach.

`tests/cluster/run` makes the cluster. With TEST_KUBECONFIG the tests use whatever cluster that file is for; it gets images by the command in TEST_LOAD_IMAGE,
to which the path of an image's file is added, as in `kind load image-archive`.
"""

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from kubernetes import client, config

from tests.cluster.images import build, load_images
from tests.cluster.installing import cache_folder
from tests.cluster.plan import Plan
from tests.cluster.pods import Namespace
from tests.cluster.running import Cluster, find_number
from tests.cluster.servers import served

FOLDER, KUBECONFIG, LOAD_IMAGE = "TEST_CLUSTER_FOLDER", "TEST_KUBECONFIG", "TEST_LOAD_IMAGE"
NONE = f"no cluster to test on: tests/cluster/run makes one; {KUBECONFIG} names another's file"
# Read here because tests run without the caller's settings.
SETTINGS = {name: os.environ[name] for name in (FOLDER, KUBECONFIG, LOAD_IMAGE) if os.environ.get(name)}
CACHE = cache_folder(os.environ)


@pytest.fixture(scope="session")
def own_cluster() -> Cluster | None:
    """The cluster that the project's tool made; None where the tests use another one."""
    if KUBECONFIG in SETTINGS:
        return None
    if FOLDER not in SETTINGS:
        pytest.skip(NONE)
    folder = Path(SETTINGS[FOLDER])
    number = find_number(folder)
    if number is None:
        pytest.fail(f"{FOLDER} is {folder}, where there is no cluster; make one with 'python -m tests.cluster --folder {folder} up'")
    return Cluster(Plan(folder, number), CACHE)


@pytest.fixture(scope="session")
def made_here(own_cluster: Cluster | None) -> Cluster:
    """The cluster that the project's tool made, for tests of things that no other cluster has."""
    if own_cluster is None:
        pytest.skip("holds for the clusters that the project's tool makes")
    return own_cluster


@pytest.fixture(scope="session")
def kubeconfig(own_cluster: Cluster | None) -> Path:
    return Path(SETTINGS[KUBECONFIG]) if own_cluster is None else own_cluster.plan.kubeconfig


@pytest.fixture(scope="session")
def api(kubeconfig: Path) -> Iterator[client.ApiClient]:
    """A client of the cluster for whom everything is allowed."""
    with config.new_client_from_config(str(kubeconfig)) as made:
        yield made


@pytest.fixture
def namespace(api: client.ApiClient) -> Iterator[Namespace]:
    """A namespace of the test's own."""
    made = Namespace.create(api)
    yield made
    made.delete()


@pytest.fixture(scope="session")
def image(own_cluster: Cluster | None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Makes sure that the cluster has one of the images of tests/cluster/images.py; returns its name."""
    loaded: set[str] = set()

    def load(name: str) -> str:
        if name not in loaded:
            if own_cluster is not None:
                load_images(own_cluster, [name])
            elif LOAD_IMAGE in SETTINGS:
                subprocess.run([*shlex.split(SETTINGS[LOAD_IMAGE]), str(build(name, CACHE, tmp_path_factory.mktemp("image")))], check=True)
            else:
                pytest.skip(f"{LOAD_IMAGE} does not say how this cluster gets images; for kind: {LOAD_IMAGE}='kind load image-archive'")
            loaded.add(name)
        return name

    return load


@pytest.fixture(scope="session")
def servers(made_here: Cluster) -> Iterator[Mapping[str, str]]:
    """A real S3 server, PostgreSQL and etcd at the address at which pods reach the machine: where they are, as variables of the environment."""
    with served(made_here.plan.host, "s3", "postgresql", "etcd") as found:
        yield found
