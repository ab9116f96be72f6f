"""Workflows of Argo whose nodes are pods of a real cluster: images as they are, what goes in and comes out, and processes and pods that are killed."""

import json
import subprocess
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.commands import run
from tests.cluster.homes import Home, make_home
from tests.cluster.images import BUSYBOX, NO_SHELL, NON_ROOT, POSTGRESQL, WORKER
from tests.cluster.layers import REPOSITORY
from tests.cluster.pods import Namespace
from tests.cluster.test_workflows import viewer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
FOLDER = REPOSITORY / "definitions" / "workflows"
Document = dict[str, Any]


class Workflows:
    """A home whose workflows run on the cluster."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self._folder, self.said = home, folder, ""

    def write(self, *templates: Document, **spec: Any) -> str:
        """A file with a workflow, whose first template is run."""
        whole = {"entrypoint": templates[0]["name"], "templates": templates, **spec}
        document = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "wf"}, "spec": whole}
        path = self._folder / "workflow.yaml"
        path.write_text(json.dumps(document))
        return str(path)

    def run(self, *templates: Document, **spec: Any) -> Mapping[str, Document]:
        """Runs a workflow to its end; its nodes by name, without that of the workflow."""
        with self.start(*templates, **spec) as running:
            self.said, _ = running.communicate()
        return self.nodes()

    def start(self, *templates: Document, **spec: Any) -> subprocess.Popen[str]:
        """Begins to run a workflow."""
        return self.home.start("argo", "submit", self.write(*templates, **spec))

    def nodes(self) -> Mapping[str, Document]:
        """What is kept of the nodes."""
        path = Path(self.home.environ["PACHYDERM_HOME"], "argo", "runs", "wf", "nodes")
        lines = path.read_text().splitlines() if path.exists() else []
        return {node["name"].removeprefix("wf"): node for node in map(json.loads, lines)}


@pytest.fixture
def workflows(namespace: Namespace, image: Callable[[str], str], servers: Mapping[str, str], kubeconfig: Path, tmp_path: Path) -> Workflows:
    for name in (WORKER, BUSYBOX):
        image(name)
    return Workflows(make_home(namespace, kubeconfig, servers, tmp_path), tmp_path)


def told(nodes: Mapping[str, Document]) -> str:
    return "\n".join(f"{name} {node['phase']}: {node.get('message')}" for name, node in nodes.items())


def shell(name: str, script: str, *, image: str = BUSYBOX, **more: Any) -> Document:
    return {"name": name, "container": {"image": image, "command": ["sh", "-ec"], "args": [script]}, **more}


def test_parameters_and_results_go_from_pod_to_pod_over_a_fan_out(workflows: Workflows) -> None:
    say = shell("say", "echo {{inputs.parameters.x}} > /tmp/p; echo '\"said {{inputs.parameters.x}}\"'", inputs={"parameters": [{"name": "x"}]})
    say["outputs"] = {"parameters": [{"name": "p", "valueFrom": {"path": "/tmp/p"}}, {"name": "q", "valueFrom": {"path": "/no", "default": "none"}}]}
    main = {
        "name": "main",
        "dag": {
            "tasks": [
                {"name": "list", "template": "list"},
                {
                    "name": "each",
                    "template": "say",
                    "depends": "list",
                    "withParam": "{{tasks.list.outputs.result}}",
                    "arguments": {"parameters": [{"name": "x", "value": "{{item}}"}]},
                },
                {
                    "name": "all",
                    "template": "check",
                    "depends": "each",
                    "arguments": {
                        "parameters": [{"name": "p", "value": "{{tasks.each.outputs.parameters.p}}"}, {"name": "r", "value": "{{tasks.each.outputs.result}}"}]
                    },
                },
            ]
        },
    }
    check = shell(
        "check", "test '{{inputs.parameters.p}}' = '[\"1\",\"2\",\"3\"]'; echo '{{inputs.parameters.r}}'", inputs={"parameters": [{"name": "p"}, {"name": "r"}]}
    )
    nodes = workflows.run(main, shell("list", "echo log >&2; echo '[1, 2, 3]'"), say, check)
    assert nodes[""]["phase"] == "Succeeded", told(nodes)
    assert nodes[".each(1:2)"]["outputs"] == {"parameters": {"p": "2", "q": "none"}, "result": '"said 2"', "exit_code": "0"}
    assert workflows.home("argo", "logs", "wf", nodes[".all"]["pod"]) == '["said 1","said 2","said 3"]\n'
    # What goes to standard output takes another way, because it is kept.
    assert sorted(workflows.home("argo", "logs", "wf", nodes[".list"]["pod"]).splitlines()) == ["[1, 2, 3]", "log"]
    workflows.home.wait_for(workflows.home.is_clean)


def test_artifacts_and_scripts_go_into_pods_and_come_out(workflows: Workflows) -> None:
    make = shell("make", "mkdir -p /out/d; echo one > /out/d/a; ln -s a /out/d/b; echo plain > /tmp/f")
    make["outputs"] = {
        "artifacts": [{"name": "d", "path": "/out/d"}, {"name": "f", "path": "/tmp/f", "archive": {"none": {}}}, {"name": "o", "path": "/no", "optional": True}]
    }
    use = {
        "name": "use",
        "inputs": {
            "artifacts": [
                {"name": "d", "path": "/given/folder"},
                {"name": "f", "path": "/given/file"},
                {"name": "r", "path": "/volume/raw", "raw": {"data": "raw text"}, "mode": 0o600},
                {"name": "o", "path": "/given/none", "optional": True},
            ]
        },
        "script": {
            "image": BUSYBOX,
            "command": ["sh", "-e"],
            "source": """
                test ! -e /given/none
                cat /given/folder/a; readlink /given/folder/b; cat /given/file /volume/raw
                echo > /given/folder/c
                cp -a /given/folder /kept
            """,
            "volumeMounts": [{"name": "v", "mountPath": "/volume"}],
        },
        "outputs": {"artifacts": [{"name": "kept", "path": "/kept", "archive": {"none": {}}}]},
    }
    last = {"name": "last", "inputs": {"artifacts": [{"name": "kept", "path": "/k"}]}, "container": {"image": BUSYBOX, "command": ["ls", "/k"]}}
    artifacts = [{"name": name, "from": f"{{{{steps.make.outputs.artifacts.{name}}}}}"} for name in ("d", "f")]
    main = {
        "name": "main",
        "steps": [
            [{"name": "make", "template": "make"}],
            [{"name": "use", "template": "use", "arguments": {"artifacts": artifacts}}],
            [{"name": "last", "template": "last", "arguments": {"artifacts": [{"name": "kept", "from": "{{steps.use.outputs.artifacts.kept}}"}]}}],
        ],
    }
    nodes = workflows.run(main, make, use, last, volumes=[{"name": "v", "emptyDir": {}}])
    assert nodes[""]["phase"] == "Succeeded", told(nodes)
    home = workflows.home
    assert home("argo", "logs", "wf", nodes["[1].use"]["pod"]) == "one\na\nplain\nraw text\n"
    assert home("argo", "logs", "wf", nodes["[2].last"]["pod"]).split() == ["a", "b", "c"]
    assert home("get", "file", f"argo-wf@master:/{nodes['[0].make']['outputs']['artifacts']['f']['key']}") == "plain\n"
    home.wait_for(home.is_clean)


def test_images_run_as_they_are_where_nothing_is_taken_from_them(workflows: Workflows, image: Callable[[str], str]) -> None:
    image(NON_ROOT)
    plain = {"name": "plain", "container": {"image": NON_ROOT, "args": ["a", "b"]}}
    given = {**plain, "name": "given", "inputs": {"artifacts": [{"name": "r", "path": "/given", "raw": {"data": "x"}}]}}
    wanted = {**plain, "name": "wanted", "outputs": {"parameters": [{"name": "p", "valueFrom": {"path": "/tmp/p"}}]}}
    main = {"name": "main", "steps": [[{"name": name, "template": name} for name in ("plain", "given", "wanted")]]}
    nodes = workflows.run(main, plain, given, wanted)
    assert workflows.home("argo", "logs", "wf", nodes["[0].plain"]["pod"]) == "1000 in /tmp: a b\n"
    assert nodes["[0].given"]["phase"] == "Succeeded", told(nodes)
    assert (nodes["[0].wanted"]["phase"], nodes["[0].wanted"]["message"].split(";")[1]) == ("Error", " write 'command', or take no outputs from the container")


def test_a_program_without_a_shell_gives_outputs_and_its_user_need_not_be_root(workflows: Workflows, image: Callable[[str], str]) -> None:
    for name in (NO_SHELL, NON_ROOT):
        image(name)
    script = (
        "import os, signal; open('/tmp/p', 'w').write(str(os.getuid())); assert signal.getsignal(signal.SIGINT) is signal.default_int_handler; print('x\\n')"
    )
    output = {"parameters": [{"name": "p", "valueFrom": {"path": "/tmp/p"}}]}
    python = {"name": "python", "script": {"image": NO_SHELL, "command": ["python3"], "source": script}, "outputs": output}
    other = shell("other", "id -u > /tmp/p", image=NON_ROOT, outputs=output)
    missing = {"name": "missing", "container": {"image": NO_SHELL, "command": ["no-such-program"]}, "outputs": output}
    show = {"name": "result", "value": "{{steps.python.outputs.result}}"}
    main = {
        "name": "main",
        "steps": [
            [{"name": name, "template": name, "continueOn": {"error": True}} for name in ("python", "other", "missing")],
            [{"name": "show", "template": "show", "arguments": {"parameters": [show]}}],
        ],
    }
    nodes = workflows.run(main, python, other, missing, shell("show", "true", inputs={"parameters": [{"name": "result"}]}))
    assert nodes["[0].python"]["outputs"] == {"parameters": {"p": "0"}, "result": "x\n", "exit_code": "0"}, told(nodes)
    assert nodes["[0].other"]["outputs"]["parameters"] == {"p": "1000"}
    assert (nodes["[0].missing"]["phase"], nodes["[0].missing"]["message"]) == ("Error", "the program 'no-such-program' is not in the image; correct 'command'")


def test_exit_codes_deadlines_and_attempts_are_those_of_argo(workflows: Workflows) -> None:
    flaky = shell("flaky", "exit $((3 - {{retries}}))", retryStrategy={"limit": 3})
    late = shell("late", "sleep 1000", activeDeadlineSeconds=3)
    after = shell("after", "echo written > /tmp/p; exit 4", outputs={"parameters": [{"name": "p", "valueFrom": {"path": "/tmp/p"}}]})
    main = {"name": "main", "steps": [[{"name": one, "template": one, "continueOn": {"failed": True}} for one in ("flaky", "late", "after")]]}
    nodes = workflows.run(main, flaky, late, after)
    assert [nodes[f"[0].flaky({number})"]["outputs"].get("exit_code") for number in range(4)] == ["3", "2", "1", "0"], told(nodes)
    assert nodes["[0].flaky(0)"]["message"] == "Error (exit code 3)"
    assert (nodes["[0].late"]["phase"], nodes["[0].late"]["message"]) == ("Failed", "Pod was active on the node longer than the specified deadline")
    assert (nodes["[0].after"]["phase"], nodes["[0].after"]["outputs"]["parameters"]) == ("Failed", {"p": "written"})


def test_a_killed_engine_is_gone_on_with_and_no_pod_runs_twice(workflows: Workflows) -> None:
    home = workflows.home
    wait = shell(
        "wait", "cat /proc/sys/kernel/random/uuid; sleep 20; echo done > /tmp/p", outputs={"parameters": [{"name": "p", "valueFrom": {"path": "/tmp/p"}}]}
    )
    quick = shell("quick", "cat /proc/sys/kernel/random/uuid")
    main = {"name": "main", "steps": [[{"name": "wait", "template": "wait"}, {"name": "quick", "template": "quick"}]]}

    def printed() -> set[str]:
        """What the pods printed that have begun."""
        begun = [pod.metadata.name for pod in home.pods() if pod.status.phase in ("Running", "Succeeded")]
        return {home.namespace.logs(name, "main") for name in begun} - {""}

    with workflows.start(main, wait, quick) as running:
        home.wait_for(lambda: len(printed()) == 2)
        running.kill()
    first = printed()
    home("argo", "retry", "wf")
    nodes = workflows.nodes()
    assert nodes[""]["phase"] == "Succeeded", told(nodes)
    assert nodes["[0].wait"]["outputs"]["parameters"] == {"p": "done"}
    kept = {home("argo", "logs", "wf", nodes[f"[0].{name}"]["pod"]) for name in ("wait", "quick")}
    assert kept == first
    home.wait_for(home.is_clean)


def test_a_deleted_pod_is_an_error_that_is_tried_again(workflows: Workflows) -> None:
    home = workflows.home
    again = shell("main", "test {{retries}} != 0 || sleep 1000", retryStrategy={"limit": 1, "retryPolicy": "OnError"})
    with workflows.start(again) as running:
        (pod,) = home.wait_for(lambda: [pod for pod in home.pods() if pod.status.phase == "Running"])
        home.namespace.core.delete_namespaced_pod(pod.metadata.name, home.namespace.name, grace_period_seconds=1)
        running.communicate()
    nodes = workflows.nodes()
    assert (nodes["(0)"]["phase"], nodes["(0)"]["message"]) == ("Error", "pod deleted"), told(nodes)
    assert nodes[""]["phase"] == "Succeeded"


def test_what_is_stopped_leaves_no_pod(workflows: Workflows) -> None:
    home = workflows.home
    with workflows.start(shell("main", "sleep 1000")) as running:
        home.wait_for(lambda: [pod for pod in home.pods() if pod.status.phase == "Running"])
        home("argo", "stop", "wf")
        running.communicate()
    home.wait_for(home.is_clean)
    assert workflows.nodes()[""]["phase"] == "Failed"


def test_the_examples_run_in_pods_with_a_database_and_a_deployment(
    workflows: Workflows, image: Callable[[str], str], servers: Mapping[str, str], tmp_path: Path
) -> None:
    home, namespace = workflows.home, workflows.home.namespace
    image(POSTGRESQL)
    database = f"winery_{uuid.uuid4().hex}"
    run(["psql", servers["TEST_METADATA_URL"], "--command", f"CREATE DATABASE {database}"])
    url = servers["TEST_METADATA_URL"].removesuffix("/postgres") + f"/{database}"
    run(["psql", url, "--quiet", "--file", str(FOLDER / "winery.sql")], folder=REPOSITORY)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "winery"}, "stringData": {"url": url}}
    (tmp_path / "secret.yaml").write_text(json.dumps(secret))
    namespace.core.create_namespaced_secret(namespace.name, secret)
    namespace.apps.create_namespaced_deployment(namespace.name, viewer())
    home.wait_for(lambda: [one for one in home.deployments() if one.status.available_replicas == 1])

    def query(statement: str) -> str:
        return run(["psql", url, "--tuples-only", "--no-align", "--command", statement]).strip()

    for name in ("two-models", "experiments", "estimates"):
        text = (FOLDER / f"{name}.yaml").read_text().replace("postgres:16-alpine", POSTGRESQL).replace("python:3.12-alpine", WORKER)
        (tmp_path / f"{name}.yaml").write_text(text)
        home("argo", "submit", str(tmp_path / f"{name}.yaml"), str(tmp_path / "secret.yaml"), "--name", name)
    (place,) = Path(home.environ["PACHYDERM_HOME"], "argo", "runs", "two-models", "artifacts").rglob("scores")
    scores = json.loads(place.read_text())
    assert set(scores) == {"neighbours", "bayes"}
    assert int(query("SELECT count(*) FROM weights")) > 0
    assert int(query("SELECT count(*) FROM predictions")) == 28
    (deployment,) = home.deployments()
    variables = {one.name: one.value for one in deployment.spec.template.spec.init_containers[0].env}
    assert variables["ESTIMATES"] == "estimates"
