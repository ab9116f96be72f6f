"""What the rest of the project needs of a cluster: jobs with sidecars, images of every kind, services, and servers of the machine."""

import json
import urllib.request
from collections.abc import Callable, Mapping

import msgspec
import pytest
from kubernetes import client

from tests.cluster.images import BUSYBOX, NO_SHELL, NON_ROOT, UPPER, WORKER
from tests.cluster.installing import KUBERNETES, MODULE, required_version
from tests.cluster.pods import Namespace
from tests.cluster.running import Cluster

pytestmark = pytest.mark.cluster

Load = Callable[[str], str]


def test_node_is_ready_and_of_the_version_that_the_module_names(made_here: Cluster, api: client.ApiClient) -> None:
    [node] = client.CoreV1Api(api).list_node().items

    assert [one.status for one in node.status.conditions if one.type == "Ready"] == ["True"]
    assert node.status.node_info.kubelet_version == f"v{required_version((MODULE / 'go.mod').read_text(), KUBERNETES.module)}"


def test_indexed_job_with_a_sidecar_and_a_shared_folder_completes(namespace: Namespace, image: Load) -> None:
    shared = [{"name": "pfs", "mountPath": "/pfs"}]
    # It outlives the container that it serves, unless it hears that it should end.
    serving = "trap 'echo told to end; exit 0' TERM; echo datum $JOB_COMPLETION_INDEX >/pfs/new && mv /pfs/new /pfs/in; while :; do sleep 0.1; done"
    sidecar = {
        "name": "worker",
        "restartPolicy": "Always",
        "command": ["sh", "-c", serving],
        "startupProbe": {"exec": {"command": ["test", "-e", "/pfs/in"]}, "periodSeconds": 1},
    }
    user = {"name": "user", "command": ["sh", "-c", "cat /pfs/in"]}
    containers = [{"image": image(BUSYBOX), "imagePullPolicy": "Never", "volumeMounts": shared, **container} for container in (sidecar, user)]
    pod = {"restartPolicy": "Never", "initContainers": containers[:1], "containers": containers[1:], "volumes": [{"name": "pfs", "emptyDir": {}}]}

    namespace.run_job("job", {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimit": 0, "template": {"spec": pod}})

    pods = namespace.pods_of("job")
    assert [namespace.logs(pod.metadata.name, "user") for pod in pods] == [f"datum {index}\n" for index in range(3)]
    assert [namespace.logs(pod.metadata.name, "worker") for pod in pods] == ["told to end\n"] * 3


def test_image_of_one_static_program_runs_beside_a_container_that_feeds_it(namespace: Namespace, image: Load) -> None:
    shared = [{"name": "pfs", "mountPath": "/pfs"}]
    feeding = {"name": "feed", "image": image(BUSYBOX), "command": ["sh", "-c", "mkdir /pfs/in /pfs/out; echo hello >/pfs/in/a"], "volumeMounts": shared}
    user = {"name": "user", "image": image(UPPER), "volumeMounts": shared}

    told = namespace.run_pod("upper", {"initContainers": [feeding], "containers": [user], "volumes": [{"name": "pfs", "emptyDir": {"medium": "Memory"}}]})

    assert told == "a\n"


def test_image_with_a_user_and_an_entrypoint_keeps_both(namespace: Namespace, image: Load) -> None:
    container = {"name": "user", "image": image(NON_ROOT), "args": ["one", "two words"], "securityContext": {"runAsNonRoot": True}}

    assert namespace.run_pod("non-root", {"containers": [container]}) == "1000 in /tmp: one two words\n"


def test_image_without_a_shell_runs_and_has_none(namespace: Namespace, image: Load) -> None:
    code = "import glob, os; print([path for path in glob.glob('/bin/*sh') + glob.glob('/usr/bin/*sh') if os.access(path, os.X_OK)])"

    told = namespace.run_pod("no-shell", {"containers": [{"name": "user", "image": image(NO_SHELL), "args": ["/usr/bin/python3", "-c", code]}]})

    assert not {"sh", "bash", "dash"} & {path.rpartition("/")[2] for path in json.loads(told.replace("'", '"'))}


def test_worker_image_has_the_project_s_code_and_runs_it_as_anybody(namespace: Namespace, image: Load) -> None:
    code = "import pachyderm_dagster.worker.__main__ as worker, os; print(worker.__file__, os.getuid())"
    container = {"name": "worker", "image": image(WORKER), "args": ["-c", code], "securityContext": {"runAsUser": 1234}}

    assert namespace.run_pod("worker", {"containers": [container]}) == "/opt/code/pachyderm_dagster/worker/__main__.py 1234\n"


ASKING_A_SERVICE = """
import sys, time, urllib.request

deadline = time.monotonic() + 30
while True:
    try:
        print(urllib.request.urlopen(sys.argv[1], timeout=1).read().decode(), end="")
        break
    except OSError:  # a service's address works a moment after its pod is ready
        if time.monotonic() > deadline:
            raise
"""


def test_service_is_reached_by_pods_and_by_the_machine(made_here: Cluster, namespace: Namespace, image: Load) -> None:
    command = ["sh", "-c", "mkdir /www && echo served >/www/index.html && exec httpd -f -p 8080 -h /www"]
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    serving = {"name": "web", "image": image(BUSYBOX), "command": command, "readinessProbe": probe}
    namespace.core.create_namespaced_pod(
        namespace.name, {"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {"containers": [serving], "terminationGracePeriodSeconds": 0}}
    )
    service = namespace.core.create_namespaced_service(
        namespace.name, {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}
    )
    namespace.wait_until_ready("web")
    url = f"http://{service.spec.cluster_ip}/"

    assert namespace.run_pod("ask", {"containers": [{"name": "ask", "image": image(WORKER), "args": ["-c", ASKING_A_SERVICE, url]}]}) == "served\n"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"served\n"


def test_service_has_its_names_in_pods_of_any_namespace_and_other_names_are_unknown(namespace: Namespace, api: client.ApiClient, image: Load) -> None:
    other = Namespace.create(api)
    try:
        spec = {"ports": [{"port": 80}], "selector": {"app": "web"}}
        service = namespace.core.create_namespaced_service(namespace.name, {"metadata": {"name": "web"}, "spec": spec})
        names = ["web", f"web.{namespace.name}", f"web.{namespace.name}.svc", f"web.{namespace.name}.svc.cluster.local", "nothing"]
        ask = {"containers": [{"name": "ask", "image": image(WORKER), "args": ["-c", LOOKING_UP, *names]}]}
        address = service.spec.cluster_ip
        assert json.loads(namespace.run_pod("ask", ask)) == [address] * 4 + [None]
        assert json.loads(other.run_pod("ask", ask)) == [None] + [address] * 3 + [None]
    finally:
        other.delete()


LOOKING_UP = """
import json, socket, sys

def look_up(name):
    try:
        return socket.gethostbyname(name)
    except OSError:
        return None

print(json.dumps([look_up(name) for name in sys.argv[1:]]))
"""

ASKING_SERVERS = """
import json, os, socket, urllib.request
import obstore
from obstore.store import S3Store

store = S3Store("bucket", endpoint=os.environ["AWS_ENDPOINT_URL"], client_options={"allow_http": True})
obstore.put(store, "from-a-pod", b"written")

host, port = os.environ["TEST_METADATA_URL"].partition("@")[2].partition("/")[0].split(":")
with socket.create_connection((host, int(port)), timeout=10) as connection:
    connection.sendall((8).to_bytes(4) + (80877103).to_bytes(4))  # PostgreSQL's question for TLS, which this server has not
    postgresql = connection.recv(1).decode()

url = os.environ["TEST_ETCD_URL"].replace("etcd:", "http:") + "/v3/kv/put"
request = urllib.request.Request(url, json.dumps({"key": "a2V5", "value": "dmFsdWU="}).encode())
with urllib.request.urlopen(request, timeout=10) as answer:
    etcd = "header" in json.load(answer)

print(json.dumps({"s3": obstore.get(store, "from-a-pod").bytes().to_bytes().decode(), "postgresql": postgresql, "etcd": etcd}))
"""


def test_pod_reaches_s3_postgresql_and_etcd_of_the_machine(namespace: Namespace, image: Load, servers: Mapping[str, str]) -> None:
    container = {
        "name": "ask",
        "image": image(WORKER),
        "args": ["-c", ASKING_SERVERS],
        "env": [{"name": name, "value": value} for name, value in servers.items()],
    }

    assert msgspec.json.decode(namespace.run_pod("ask", {"containers": [container]})) == {"s3": "written", "postgresql": "N", "etcd": True}
