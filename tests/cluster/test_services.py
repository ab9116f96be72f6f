"""Services in pods, on a real cluster: a client asks all the time while commits and updates come, code that does not stay, and the end."""

import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.cluster.commands import run
from tests.cluster.homes import SECONDS, Home, make_home
from tests.cluster.images import BUSYBOX, COMMANDS, WORKER
from tests.cluster.pods import Namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NAME = "pipeline-default-web"
PORT = 8080
SPOUT_SECRET = "spouts"
# The words of the environment are for it to find its port; SIGTERM ends it as any server that was told.
SERVER = 'exec httpd -f -p "$PACH_SERVICE_HOST:$PACH_SERVICE_PORT" -h "$PFS_ROOT/data"'


@pytest.fixture
def home(namespace: Namespace, image: Callable[[str], str], servers: Mapping[str, str], kubeconfig: Path, tmp_path: Path) -> Home:
    for name in (BUSYBOX, WORKER):
        image(name)
    database = f"d{uuid.uuid4().hex}"
    run(["psql", servers["TEST_METADATA_URL"], "-c", f"create database {database}"])
    record = servers["TEST_METADATA_URL"].removesuffix("/postgres") + f"/{database}"
    made = make_home(namespace, kubeconfig, {**servers, "PACHYDERM_METADATA_URL": record}, tmp_path)
    made.environ = {**made.environ, "PACHYDERM_KUBERNETES_SPOUT_SECRET": SPOUT_SECRET}
    return made


@pytest.fixture
def keeper(home: Home) -> Iterator[None]:
    """What looks after services while a test goes on; it may end at any time."""
    running = home.start("run", "service")
    yield
    running.terminate()
    running.communicate(timeout=60)


class Client:
    """Asks the service for a page, each time by a new connection, for the length of a `with` block.

    Attributes:
        answers: what came, each once: two pods answer for a moment. `failures`: what did not.
    """

    def __init__(self, url: str) -> None:
        self.answers, self.failures = list[str](), list[str]()
        self._url, self._over = url, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.02):
            answer = ask(self._url)
            if answer.startswith("failed: "):
                self.failures.append(answer)
            elif answer not in self.answers:
                self.answers.append(answer)


def ask(url: str) -> str:
    try:
        with urllib3.PoolManager(retries=False, timeout=10) as pool:
            response = pool.request("GET", url, headers={"Connection": "close"})
    except urllib3.exceptions.HTTPError as error:
        return f"failed: {error}"
    return response.data.decode() if response.status == 200 else f"failed: {response.status}"


def create(home: Home, cmd: str = SERVER, **more: Any) -> None:
    home.create("web", cmd=["sh", "-c", cmd], glob="/", service={"internal_port": PORT, "type": "ClusterIP"}, metadata={"annotations": {"team": "a"}}, **more)


def url_of(home: Home) -> str:
    service = home.namespace.core.read_namespaced_service(NAME, home.namespace.name)
    assert service.metadata.annotations["team"] == "a"
    return f"http://{service.spec.cluster_ip}:{PORT}/page"


def state(home: Home) -> Any:
    return json.loads(home("inspect", "pipeline", "web", "-o", "json"))


@pytest.mark.usefixtures("keeper")
def test_client_never_finds_nobody_while_commits_and_updates_come_and_nothing_is_left_at_the_end(home: Home) -> None:
    home.put(page="one")
    create(home)
    home.wait_for(lambda: home.job("web")["state"] == "RUNNING")
    url = url_of(home)
    assert state(home)["process"]["service"] == f"{NAME}.{home.namespace.name}:{PORT}"
    with Client(url) as client:
        home.put(page="two")
        home.wait_for(lambda: "two" in client.answers)
        create(home, SERVER + " -v", update=True)
        home.wait_for(lambda: state(home)["version"] == 2 and home.job("web")["state"] == "RUNNING" and len(home.pods()) == 1)
        home.put(page="three")
        home.wait_for(lambda: "three" in client.answers)
    assert (client.answers, client.failures) == (["one", "two", "three"], [])
    home.wait_for(lambda: [json.loads(line)["state"] for line in home("list", "job", "-p", "web", "-o", "json").splitlines()].count("RUNNING") == 1)
    home("stop", "pipeline", "web")
    home.wait_for(lambda: not home.pods())
    assert ask(url).startswith("failed: ")
    home("start", "pipeline", "web")
    home.wait_for(lambda: ask(url) == "three")
    home("delete", "pipeline", "web")
    home.wait_for(lambda: home.is_clean() and not services(home))


def test_code_that_ends_leaves_the_commit_before_and_says_why(home: Home) -> None:
    home.put(page="one")
    create(home, f"grep -q two $PFS_ROOT/data/page && echo no such page >&2 && exit 3; {SERVER}")
    home.wait_for(lambda: tended(home)["state"] == "RUNNING" and home.job("web")["state"] == "RUNNING")
    url = url_of(home)
    home.put(page="two")
    # The pod may be found between two starts, when only the kubelet says something.
    home.wait_for(lambda: "no such page" in tended(home)["reason"])
    assert ask(url) == "one"
    home.put(page="three")
    home.wait_for(lambda: tended(home)["state"] == "RUNNING")
    home.wait_for(lambda: ask(url) == "three")


@pytest.mark.usefixtures("keeper")
def test_spout_goes_on_when_its_pod_is_killed_and_loses_no_commit(home: Home, image: Callable[[str], str]) -> None:
    image(COMMANDS)
    access = {name: value for name, value in home.environ.items() if name.startswith("AWS_") or name == "PACHYDERM_METADATA_URL"}
    home.namespace.core.create_namespaced_secret(home.namespace.name, {"metadata": {"name": SPOUT_SECRET}, "stringData": access})
    tick = "while date | python -m pachyderm_dagster put file --append clock@master:/lines; do :; done"
    transform = {"image": COMMANDS, "cmd": ["sh", "-c", tick]}
    home("create", "pipeline", "-f", "-", stdin=json.dumps({"pipeline": {"name": "clock"}, "spout": {}, "transform": transform}))
    home.wait_for(lambda: written(home) >= 2)
    (pod,) = [one for one in home.pods() if one.metadata.deletion_timestamp is None]
    home.namespace.core.delete_namespaced_pod(pod.metadata.name, home.namespace.name, grace_period_seconds=0)
    before = written(home)
    home.wait_for(lambda: written(home) >= before + 2)
    home("stop", "pipeline", "clock")
    home.wait_for(lambda: not home.pods())
    commits = [json.loads(line) for line in home("list", "commit", "clock@master", "-o", "json").splitlines()]
    assert len([one for one in commits if one["finished"] is not None and one["size_bytes"]]) == written(home)
    home("delete", "pipeline", "clock")
    home.wait_for(lambda: not home.deployments())


def written(home: Home) -> int:
    """How many lines the spout has added, each by a commit."""
    done = subprocess.run(
        [sys.executable, "-m", "pachyderm_dagster", "get", "file", "clock@master:/lines"], env=home.environ, capture_output=True, text=True, timeout=SECONDS
    )
    return len(done.stdout.splitlines()) if done.returncode == 0 else 0


def tended(home: Home) -> Any:
    """The pipeline, after what any command does that changes pipelines: there is no keeper."""
    home("start", "pipeline", "web")
    return state(home)


def services(home: Home) -> list[Any]:
    return [one for one in home.namespace.core.list_namespaced_service(home.namespace.name).items if one.metadata.name != "kubernetes"]
