"""One contract for pods, wherever they are: processes of this machine, and pods of a cluster, whose API server and kubelet are of this process."""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pachyderm_dagster.argo.cluster import artifacts
from pachyderm_dagster.argo.cluster.area import PodArea, get_file
from pachyderm_dagster.argo.cluster.artifacts import RunArtifacts
from pachyderm_dagster.argo.cluster.names import POD_ANNOTATION, TRY_ANNOTATION, WORKFLOW_ANNOTATION, RunNames
from pachyderm_dagster.argo.cluster.place import ClusterPlace
from pachyderm_dagster.argo.cluster.running_pod import RunningPod
from pachyderm_dagster.argo.control import STOP
from pachyderm_dagster.argo.driving import run_to_end
from pachyderm_dagster.argo.nodes import Node, Phase
from pachyderm_dagster.argo.run_folder import RunFolder
from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.argo.subject import Subject
from pachyderm_dagster.clock import ManualClock, SystemClock
from pachyderm_dagster.errors import ExecutionError, UnreachableError
from pachyderm_dagster.executors.kubernetes.cluster import Cluster
from pachyderm_dagster.settings import KubernetesSettings, Settings
from tests.argo.kubelet import Kubelet, cluster
from tests.argo.playing import ignore, subject_of
from tests.executors.kubernetes.api_server import ApiServer, Manifest


class Home:
    """Runs workflows in a folder; on a cluster `server` and `kubelet` are that."""

    def __init__(self, path: Path, server: ApiServer | None, kubelet: Kubelet | None) -> None:
        self.path, self.server, self.kubelet = path, server, kubelet
        if server is None:
            self.runs = Runs(path)
            return
        (path / "argo").mkdir(parents=True)
        kubernetes = KubernetesSettings(str(server.kubeconfig), "", "lab", "worker:1", "Never", "", "default")
        self._settings = Settings(path, "", (path / "store").as_uri(), "", "kubernetes", "default", path, {}, kubernetes=kubernetes)
        self.runs = self.another()

    def another(self) -> Runs:
        """The same runs, as another process opens them."""
        assert self._settings.kubernetes is not None
        return Runs(self.path, place=ClusterPlace(self._settings, self._settings.kubernetes))

    def set_owner(self, owner: str) -> None:
        """Has all that runs make belong to a pod."""
        assert self._settings.kubernetes is not None
        self._settings = replace(self._settings, kubernetes=replace(self._settings.kubernetes, owner=owner))
        self.runs = self.another()

    def create(self, text: str) -> RunFolder:
        return self.runs.create(subject_of(text, {}, ManualClock()), network=False)

    def run(self, text: str) -> dict[str, Node]:
        """Runs a workflow to its end; its nodes by name, without that of the workflow."""
        return self.go_on(self.create(text))

    def run_another(self) -> None:
        """Runs a workflow of another name to its end."""
        other = subject_of(container("true"), {}, ManualClock())
        self.go_on(self.runs.create(replace(other, uid="another", metadata=msgspec.structs.replace(other.metadata, name="other")), network=False))

    def go_on(self, run: RunFolder) -> dict[str, Node]:
        run_to_end(self.runs, run, SystemClock(), ignore)
        return {name.removeprefix("wf"): node for name, node in run.nodes().items()}

    def log(self, pod: str) -> str:
        return (self.runs.get("wf").path / "pods" / pod / "log").read_text()

    def is_clean(self) -> bool:
        """Whether nothing is left outside of the home's folder of runs."""
        if self.server is None:
            return True
        left = [kind for kind in ("pods", "configmaps", "secrets", "persistentvolumeclaims") if self.server.objects(kind)]
        return not left and not [path for path in (self.path / "store" / "workflows").rglob("*") if path.is_file()]


@pytest.fixture
def on_cluster(tmp_path: Path) -> Iterator[Home]:
    with cluster(tmp_path / "cluster") as (server, kubelet):
        yield Home(tmp_path / "home", server, kubelet)


@pytest.fixture(params=["local", "cluster"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    if request.param == "local":
        return Home(tmp_path / "home", None, None)
    found: Home = request.getfixturevalue("on_cluster")
    return found


def container(*lines: str, more: str = "", template: str = "") -> str:
    script = "; ".join(lines)
    return f"  templates:\n  - name: main\n    container: {{image: busybox, command: [sh, -c], args: [{script!r}]{more}}}\n{template}"


P = "    outputs: {parameters: [{name: p, valueFrom: {path: /tmp/p}}]}\n"


def test_a_pod_prints_and_writes_what_it_gives(home: Home) -> None:
    outputs = "    outputs: {parameters: [{name: p, valueFrom: {path: /of-a-pod/p}}, {name: d, valueFrom: {path: /no, default: dd}}]}\n"
    nodes = home.run(container("mkdir /of-a-pod", "echo hello", "echo oops >&2", "(echo a; echo b) > /of-a-pod/p", template=outputs))
    assert nodes[""].phase is Phase.SUCCEEDED, nodes[""].message
    assert nodes[""].outputs.parameters == {"p": "a\nb", "d": "dd"}
    assert home.log("wf") == "hello\noops\n"
    assert home.is_clean()


def test_results_are_what_went_to_standard_output_without_its_last_line_end(home: Home) -> None:
    text = """  templates:
  - name: main
    steps:
    - - {name: a, template: gen, withItems: [1, 2], arguments: {parameters: [{name: t, value: '{{item}}'}]}}
    - - {name: b, template: say, arguments: {parameters: [{name: t, value: '{{steps.a.outputs.result}}'}]}}
  - name: gen
    inputs: {parameters: [{name: t}]}
    script: {image: 'python:alpine', command: [python3], source: "import sys; print('{{inputs.parameters.t}}'); print(); print('log', file=sys.stderr)"}
  - {name: say, inputs: {parameters: [{name: t}]}, container: {image: busybox, command: [echo, '{{inputs.parameters.t}}']}}
"""
    nodes = home.run(text)
    assert nodes["[0].a(1:2)"].outputs.result == "2\n", nodes[""].message
    assert home.log(nodes["[1].b"].pod) == "[1,2]\n"


@pytest.mark.parametrize("template", ["", P])
def test_exit_codes_fail_the_node(home: Home, template: str) -> None:
    root = home.run(container("echo x > /tmp/p", "exit 3", template=template))[""]
    assert (root.phase, root.message, root.outputs.exit_code) == (Phase.FAILED, "Error (exit code 3)", "3")
    assert root.outputs.parameters == ({"p": "x"} if template else {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (container("true", template=P), "nothing was written to /tmp/p"),
        (container("true", template="    outputs: {artifacts: [{name: p, path: /p}]}\n"), "nothing was written to /p"),
        (container("true", more=", volumeMounts: [{name: gone, mountPath: /v}]"), "the volume 'gone'"),
    ],
)
def test_what_surrounds_user_code_makes_errors(home: Home, text: str, said: str) -> None:
    root = home.run(text)[""]
    assert root.phase is Phase.ERROR
    assert said in root.message
    assert home.is_clean()


def test_artifacts_go_from_pod_to_pod(home: Home) -> None:
    text = """  templates:
  - name: main
    steps:
    - - {name: make, template: make}
    - - name: use
        template: use
        arguments: {artifacts: [{name: d, from: '{{steps.make.outputs.artifacts.d}}'}, {name: f, from: '{{steps.make.outputs.artifacts.f}}'}]}
    - - {name: last, template: last, arguments: {artifacts: [{name: kept, from: '{{steps.use.outputs.artifacts.kept}}'}]}}
  - name: make
    container: {image: x, command: [sh, -ec], args: ['mkdir -p /out/d; echo one > /out/d/a; ln -s a /out/d/b; echo plain > /tmp/f']}
    outputs: {artifacts: [{name: d, path: /out/d}, {name: f, path: /tmp/f, archive: {none: {}}}, {name: o, path: /no, optional: true}]}
  - name: use
    inputs: {artifacts: [{name: d, path: /given/folder}, {name: f, path: /given/file}, {name: r, path: /given/raw, raw: {data: text}}]}
    script:
      image: x
      command: [sh, -e]
      source: cat /given/folder/a; readlink /given/folder/b; cat /given/file /given/raw; cp -a /given/folder /kept; echo > /kept/c
    outputs: {artifacts: [{name: kept, path: /kept, archive: {none: {}}}]}
  - name: last
    inputs: {artifacts: [{name: kept, path: /k}]}
    container: {image: x, command: [ls, /k]}
"""
    nodes = home.run(text)
    assert nodes[""].phase is Phase.SUCCEEDED, nodes[""].message
    assert home.log(nodes["[1].use"].pod) == "one\na\nplain\ntext"
    assert home.log(nodes["[2].last"].pod).split() == ["a", "b", "c"]
    assert home.is_clean()


def test_config_maps_of_the_files_reach_pods(home: Home) -> None:
    more = ", env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: k}}}], volumeMounts: [{name: v, mountPath: /v}]"
    text = "  volumes: [{name: v, configMap: {name: c}}]\n" + container("echo $A", "cat /v/k", more=more)
    files = f"{text}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{k: value}}\n"
    assert home.run(files)[""].phase is Phase.SUCCEEDED
    assert home.log("wf") == "value\nvalue"
    assert home.is_clean()


def test_claims_of_a_workflow_are_seen_by_its_pods(home: Home) -> None:
    text = """  volumeClaimTemplates: [{metadata: {name: c}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}]
  templates:
  - name: main
    steps: [[{name: a, template: a}], [{name: b, template: b}]]
  - {name: a, container: {image: x, command: [sh, -c, 'echo kept > /c/f'], volumeMounts: [{name: c, mountPath: /c}]}}
  - {name: b, container: {image: x, command: [cat, /c/f], volumeMounts: [{name: c, mountPath: /c}]}}
"""
    nodes = home.run(text)
    assert home.log(nodes["[1].b"].pod) == "kept\n", nodes[""].message
    assert home.is_clean()


FILES = """---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {one: of the map}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {two: of the secret}
"""


def test_files_of_several_kinds_are_in_one_folder(home: Home) -> None:
    text = f"""  volumes:
  - name: v
    projected:
      sources:
      - configMap: {{name: c}}
      - secret: {{name: s}}
      - downwardAPI: {{items: [{{path: three, fieldRef: {{fieldPath: "metadata.labels['team']"}}}}]}}
  - name: d
    downwardAPI: {{items: [{{path: four, fieldRef: {{fieldPath: "metadata.annotations['note']"}}}}]}}
  podMetadata: {{labels: {{team: red}}, annotations: {{note: read}}}}
  templates:
  - name: main
    container:
      image: busybox
      command: [sh, -c]
      args: ['for file in one two three; do cat /v/$file; echo; done; cat /d/four; echo; echo $TEAM']
      env: [{{name: TEAM, valueFrom: {{fieldRef: {{fieldPath: "metadata.labels['team']"}}}}}}]
      volumeMounts: [{{name: v, mountPath: /v}}, {{name: d, mountPath: /d}}]
{FILES}"""
    nodes = home.run(text)
    assert nodes[""].phase is Phase.SUCCEEDED, nodes[""].message
    assert home.log("wf").splitlines() == ["of the map", "of the secret", "red", "read", "red"]


@pytest.mark.parametrize(
    ("strategy", "program", "is_left"),
    [("", "true", False), ("", "false", True), ("OnWorkflowSuccess", "false", True), ("OnWorkflowCompletion", "false", False)],
)
def test_claims_of_a_workflow_go_when_it_says_so(home: Home, strategy: str, program: str, is_left: bool) -> None:
    text = f"  volumeClaimTemplates: [{{metadata: {{name: work}}, spec: {{accessModes: [ReadWriteOnce]}}}}]\n  volumeClaimGC: {{strategy: {strategy}}}\n"
    run = home.create(text + container(program, more=", volumeMounts: [{name: work, mountPath: /work}]"))
    home.go_on(run)
    left = list((run.path / "claims").glob("*")) if home.server is None else home.server.objects("persistentvolumeclaims")
    assert bool(left) is is_left


@pytest.mark.parametrize("strategy", ["OnPodCompletion", "OnWorkflowCompletion"])
def test_what_pod_gc_does_not_select_stays(home: Home, strategy: str) -> None:
    text = f"""  podGC: {{strategy: {strategy}, labelSelector: {{matchLabels: {{keep: not}}, matchExpressions: [{{key: other, operator: DoesNotExist}}]}}}}
  templates:
  - name: main
    steps: [[{{name: a, template: a}}, {{name: b, template: b}}]]
  - {{name: a, metadata: {{labels: {{keep: not}}}}, container: {{image: busybox, command: [sh, -c, 'echo a > /tmp/f']}}}}
  - {{name: b, metadata: {{labels: {{keep: not, other: x}}}}, container: {{image: busybox, command: [sh, -c, 'echo b > /tmp/f']}}}}
"""
    run = home.create(text)
    nodes = home.go_on(run)
    assert nodes[""].phase is Phase.SUCCEEDED, nodes[""].message
    if home.server is None:
        left = [pod.name for pod in (run.path / "pods").iterdir() if (pod / "root").exists()]
    else:
        left = [one["metadata"]["annotations"][POD_ANNOTATION] for one in home.server.objects("pods")]
    assert left == [nodes["[0].b"].pod]
    home.runs.delete(run)
    assert home.is_clean()


def test_init_containers_come_first_and_sidecars_end_with_the_main_one(home: Home) -> None:
    beside = """    initContainers: [{name: first, image: x, command: [sh, -c, 'echo first > /v/f'], volumeMounts: [{name: v, mountPath: /v}]}]
    sidecars: [{name: beside, image: x, command: [sh, -c, 'echo beside > /v/b; sleep 1000'], mirrorVolumeMounts: true}]
"""
    script = "cat /v/f; while [ ! -s /v/b ]; do sleep 0.1; done; cat /v/b"
    text = "  volumes: [{name: v, emptyDir: {}}]\n" + container(script, more=", volumeMounts: [{name: v, mountPath: /v}]", template=beside)
    root = home.run(text)[""]
    assert root.phase is Phase.SUCCEEDED, root.message
    assert home.log("wf") == "first\nbeside\n"
    assert home.is_clean()


def test_an_init_container_that_fails_is_the_pods_failure(home: Home) -> None:
    root = home.run(container("true", template="    initContainers: [{name: first, image: x, command: [sh, -c, exit 2]}]\n"))[""]
    assert (root.phase, root.message) == (Phase.FAILED, "the init container 'first': Error (exit code 2)")


def test_containers_of_a_set_wait_for_one_another_and_are_tried_again(home: Home) -> None:
    text = """  templates:
  - name: main
    outputs: {parameters: [{name: p, valueFrom: {path: /tmp/p}}]}
    containerSet:
      volumeMounts: [{name: v, mountPath: /v}]
      retryStrategy: {retries: 1}
      containers:
      - {name: main, image: x, command: [sh, -c, 'cat /v/a > /tmp/p'], dependencies: [a]}
      - {name: a, image: x, command: [sh, -ec, 'test -e /v/again || { touch /v/again; exit 1; }; echo a > /v/a']}
      - {name: bad, image: x, command: ['false']}
      - {name: after, image: x, command: ['true'], dependencies: [bad]}
"""
    nodes = home.run("  volumes: [{name: v, emptyDir: {}}]\n" + text)
    found = {name: node.phase for name, node in nodes.items()}
    assert found == {"": Phase.FAILED, ".main": Phase.SUCCEEDED, ".a": Phase.SUCCEEDED, ".bad": Phase.FAILED, ".after": Phase.OMITTED}
    assert nodes[""].outputs.parameters == {"p": "a"}
    assert home.is_clean()


def test_containers_do_not_wait_for_one_that_was_killed(on_cluster: Home) -> None:
    text = """  templates:
  - name: main
    containerSet:
      containers:
      - {name: a, image: busybox, command: [sleep, '1000']}
      - {name: main, image: busybox, command: [echo, never], dependencies: [a]}
"""
    run = on_cluster.create(text)
    with ThreadPoolExecutor(1) as threads:
        going = threads.submit(on_cluster.go_on, run)
        while not (shell := _process_of("/pach/bin/run", "a")):
            assert not going.done()
        os.kill(shell, signal.SIGKILL)
        nodes = going.result()
    assert {name: node.phase.value for name, node in nodes.items()} == {"": "Failed", ".a": "Failed", ".main": "Omitted"}
    assert on_cluster.is_clean()


def _process_of(program: str, *words: str) -> int:
    """The process of a shell's program with these first arguments; 0 when there is none."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            given = place.read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if program in given and tuple(given[given.index(program) + 1 :][: len(words)]) == words and place.parent.name != str(os.getpid()):
            return int(place.parent.name)
    return 0


def test_a_daemon_is_there_until_the_template_that_it_is_in_ends(home: Home) -> None:
    text = """  templates:
  - name: main
    steps: [[{name: d, template: d}], [{name: use, template: use, arguments: {parameters: [{name: ip, value: '{{steps.d.ip}}'}]}}]]
  - {name: d, daemon: true, container: {image: x, command: [sleep, '1000']}}
  - {name: use, inputs: {parameters: [{name: ip}]}, container: {image: x, command: [echo, '{{inputs.parameters.ip}}']}}
"""
    nodes = home.run(text)
    assert (nodes[""].phase, nodes["[0].d"].phase) == (Phase.SUCCEEDED, Phase.SUCCEEDED), nodes[""].message
    assert home.log(nodes["[1].use"].pod) == "127.0.0.1\n"
    assert home.is_clean()


def test_a_deadline_ends_the_pod(home: Home) -> None:
    root = home.run(container("sleep 1000", template="    activeDeadlineSeconds: 1\n"))[""]
    assert (root.phase, root.message) == (Phase.FAILED, "Pod was active on the node longer than the specified deadline")
    assert home.is_clean()


def test_what_failed_is_made_anew_when_a_run_is_tried_again(home: Home, tmp_path: Path) -> None:
    text = """  volumeClaimTemplates: [{metadata: {name: c}, spec: {}}]
  templates:
  - name: main
    steps: [[{name: good, template: good}, {name: bad, template: bad}]]
  - name: good
    container: {image: x, command: [sh, -c, 'echo x >> /c/good; wc -l < /c/good > /tmp/p'], MOUNTS}
    OUTPUTS
  - name: bad
    container: {image: x, command: [sh, -c, 'echo x >> /c/bad; wc -l < /c/bad > /tmp/p; test $(cat /tmp/p) = 2'], MOUNTS}
    OUTPUTS
"""
    text = text.replace("OUTPUTS", P.strip()).replace("MOUNTS", "volumeMounts: [{name: c, mountPath: /c}]")
    run = home.create(text)
    assert home.go_on(run)[""].phase is Phase.FAILED
    run.forget_failures()
    nodes = home.go_on(run)
    assert nodes[""].phase is Phase.SUCCEEDED, nodes[""].message
    assert [nodes[f"[0].{name}"].outputs.parameters["p"] for name in ("good", "bad")] == ["1", "2"]
    assert home.is_clean()


# --- what only a cluster has


def begin(home: Home, run: RunFolder) -> threading.Thread:
    running = threading.Thread(target=home.go_on, args=(run,))
    running.start()
    return running


def begin_held(home: Home, run: RunFolder) -> tuple[threading.Thread, Manifest]:
    """Begins a run up to its pod, which does not begin before the gate is opened."""
    server, kubelet = home.server, home.kubelet
    assert server is not None and kubelet is not None
    kubelet.gate.clear()
    running = begin(home, run)
    server.wait(lambda: bool(server.objects("pods")))
    (pod,) = server.objects("pods")
    return running, pod


async def remove_nothing(_self: RunningPod) -> None: ...


def kill(run: RunFolder, running: threading.Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a process dies: it removes nothing, and says nothing."""
    with monkeypatch.context() as dying:
        dying.setattr(RunningPod, "removed", remove_nothing)
        dying.setattr(ClusterPlace, "end", lambda *_: None)
        run.ask_to_stop("Terminate")
        running.join()
    for name in ("stop", "ending.json", "nodes"):
        (run.path / name).unlink()


def until(holds: Callable[[], bool]) -> None:
    wait = threading.Event()
    while not holds():
        wait.wait(0.01)


def has_running_pod(server: ApiServer) -> bool:
    return any(pod.get("status", {}).get("phase") == "Running" for pod in server.objects("pods"))


def has_answer(home: Home) -> bool:
    return bool(list((home.path / "store" / "workflows").rglob("answer")))


def test_a_pod_of_a_process_that_was_killed_is_gone_on_with(on_cluster: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    server, kubelet = on_cluster.server, on_cluster.kubelet
    assert server is not None and kubelet is not None
    run = on_cluster.create(container("echo x > /tmp/p", template=P))
    first, pod = begin_held(on_cluster, run)
    kill(run, first, monkeypatch)

    def order(*_: object) -> None:
        raise AssertionError("what goes into a pod that is there is not asked for")

    monkeypatch.setattr(RunArtifacts, "order", order)
    kubelet.gate.set()
    nodes = on_cluster.go_on(run)
    assert nodes[""].outputs.parameters == {"p": "x"}
    assert kubelet.begun == [pod["metadata"]["name"]]
    assert on_cluster.is_clean()


def test_an_answer_counts_though_its_pod_is_gone(on_cluster: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    server, kubelet = on_cluster.server, on_cluster.kubelet
    assert server is not None and kubelet is not None
    run = on_cluster.create(container("echo x > /tmp/p", template=P))
    with monkeypatch.context() as blind:
        blind.setattr(RunningPod, "_ends_in", lambda *_: None)
        first = begin(on_cluster, run)
        until(lambda: has_answer(on_cluster))
        kill(run, first, monkeypatch)
    (pod,) = server.objects("pods")
    server.delete("pods", pod["metadata"]["name"])
    assert on_cluster.go_on(run)[""].outputs.parameters == {"p": "x"}
    assert kubelet.begun == [pod["metadata"]["name"]]
    assert on_cluster.is_clean()


SET = """  volumeClaimTemplates: [{metadata: {name: c}, spec: {}}]
  templates:
  - name: main
    outputs: {parameters: [{name: p, valueFrom: {path: /tmp/p}}]}
    containerSet:
      volumeMounts: [{name: c, mountPath: /c}]
      containers:
      - {name: main, image: x, command: [sh, -c, 'echo x > /tmp/p']}
      - {name: b, image: x, command: [sh, -c, 'while [ ! -e /c/go ]; do sleep 0.1; done; exit 3']}
"""


def go(home: Home, tmp_path: Path) -> None:
    assert home.server is not None
    (claim,) = home.server.objects("persistentvolumeclaims")
    (tmp_path / "cluster" / "kubelet" / "claims" / claim["metadata"]["name"] / "go").touch()


def test_the_answer_of_main_is_not_that_of_a_container_that_still_runs(on_cluster: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubelet = on_cluster.kubelet
    assert kubelet is not None
    run = on_cluster.create(SET)
    first = begin(on_cluster, run)
    until(lambda: has_answer(on_cluster))
    kill(run, first, monkeypatch)
    second = begin(on_cluster, run)
    go(on_cluster, tmp_path)
    second.join()
    nodes = run.nodes()
    assert {name: node.phase for name, node in nodes.items()} == {"wf": Phase.FAILED, "wf.main": Phase.SUCCEEDED, "wf.b": Phase.FAILED}
    assert len(kubelet.begun) == 1


def test_a_container_of_a_set_whose_pod_is_gone_is_not_known_to_have_succeeded(on_cluster: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    server = on_cluster.server
    assert server is not None
    run = on_cluster.create(SET)
    first = begin(on_cluster, run)
    until(lambda: has_answer(on_cluster))
    kill(run, first, monkeypatch)
    server.delete("pods", server.objects("pods")[0]["metadata"]["name"])
    nodes = on_cluster.go_on(run)
    assert (nodes[".main"].phase, nodes[".b"].phase, nodes[".b"].message) == (Phase.SUCCEEDED, Phase.ERROR, "pod deleted")


@pytest.mark.parametrize("beside", ["", "    sidecars: [{name: b, image: x, command: [sleep, '1000']}]\n"])
def test_a_pod_goes_when_its_end_is_kept(on_cluster: Home, beside: str) -> None:
    server = on_cluster.server
    assert server is not None
    run = on_cluster.create("  podGC: {strategy: OnPodCompletion}\n" + container("exit 3", template=beside))
    follow, phases = server.on_change, []

    def look(change: str, kind: str, found: Manifest) -> None:
        if (change, kind) == ("DELETED", "pods"):
            phases.append(run.nodes()["wf"].phase)
        follow(change, kind, found)

    server.on_change = look
    on_cluster.go_on(run)
    assert phases == [Phase.FAILED]


def test_a_pod_that_was_made_without_an_answer_goes_with_its_node(on_cluster: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    server = on_cluster.server
    assert server is not None
    away = threading.Event()
    create, get, give_up = Cluster.create, Cluster.get, RunningPod.give_up

    def make(self: Cluster, kind: str, body: Manifest) -> Manifest | None:
        made = create(self, kind, body)
        if kind == "pods":
            away.set()
            raise UnreachableError("cluster-unreachable", "no answer")
        return made

    def find(self: Cluster, kind: str, name: str) -> Manifest | None:
        if away.is_set():
            raise UnreachableError("cluster-unreachable", "no answer")
        return get(self, kind, name)

    def end(self: RunningPod) -> None:
        give_up(self)
        away.clear()

    monkeypatch.setattr(Cluster, "create", make)
    monkeypatch.setattr(Cluster, "get", find)
    monkeypatch.setattr(RunningPod, "give_up", end)
    # It would remove all that there is.
    monkeypatch.setattr(ClusterPlace, "end", lambda *_: None)
    run = on_cluster.create(container("sleep 1000"))
    running = begin(on_cluster, run)
    until(away.is_set)
    run.ask_to_stop(STOP)
    running.join()
    assert not server.objects("pods")


def test_a_pod_is_told_to_end_until_it_is_gone(on_cluster: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    server = on_cluster.server
    assert server is not None
    monkeypatch.setattr(ClusterPlace, "end", lambda *_: None)
    run = on_cluster.create(container("sleep 1000"))
    running = begin(on_cluster, run)
    until(lambda: has_running_pod(server))
    server.refuse["DELETE"] = 503
    run.ask_to_stop(STOP)
    until(lambda: ("DELETE", "pods") in server.asked)
    server.refuse.clear()
    running.join()
    assert not server.objects("pods")


@pytest.mark.parametrize("status", [401, 403, 503])
def test_pods_outlive_a_refusal_that_passes(on_cluster: Home, tmp_path: Path, status: int) -> None:
    server, kubelet = on_cluster.server, on_cluster.kubelet
    assert server is not None and kubelet is not None
    claims = "  volumeClaimTemplates: [{metadata: {name: c}, spec: {}}]\n"
    run = on_cluster.create(claims + container("while [ ! -e /c/go ]; do sleep 0.1; done", more=", volumeMounts: [{name: c, mountPath: /c}]"))
    running = begin(on_cluster, run)
    until(lambda: has_running_pod(server))
    server.refuse["GET"] = status
    asked = len(server.asked)
    server.forget()
    until(lambda: ("GET", "pods") in server.asked[asked:])
    go(on_cluster, tmp_path)
    server.refuse.clear()
    running.join()
    assert run.nodes()["wf"].phase is Phase.SUCCEEDED, run.nodes()["wf"].message
    assert len(kubelet.begun) == 1


def test_a_store_that_is_away_is_waited_for(on_cluster: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    kubelet = on_cluster.kubelet
    assert kubelet is not None
    for name in ("find_answer", "write_order"):
        monkeypatch.setattr(PodArea, name, away_once(getattr(PodArea, name)))
    monkeypatch.setattr(artifacts, "get_file", away_once(get_file))
    run = on_cluster.create(container("echo x > /a", template="    outputs: {artifacts: [{name: a, path: /a}]}\n"))
    root = on_cluster.go_on(run)[""]
    assert root.phase is Phase.SUCCEEDED, root.message
    assert len(kubelet.begun) == 1


def away_once(function: Callable[..., Any]) -> Callable[..., Any]:
    calls = itertools.count()

    def call(*arguments: Any) -> Any:
        if not next(calls):
            raise UnreachableError("storage-unreachable", "the store does not answer")
        return function(*arguments)

    return call


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_makes_nothing_now_is_asked_again(on_cluster: Home, status: int) -> None:
    server = on_cluster.server
    assert server is not None
    server.refuse["POST"] = status
    run = on_cluster.create(container("true"))
    running = begin(on_cluster, run)
    until(lambda: ("POST", "pods") in server.asked)
    server.refuse.clear()
    running.join()
    assert run.nodes()["wf"].phase is Phase.SUCCEEDED


def test_what_a_quota_forbids_is_asked_for_again(on_cluster: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    create, calls = Cluster.create, itertools.count()

    def make(self: Cluster, kind: str, body: Manifest) -> Manifest | None:
        if kind == "pods" and not next(calls):
            raise ExecutionError("cluster-denied", "pods is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1")
        return create(self, kind, body)

    monkeypatch.setattr(Cluster, "create", make)
    assert on_cluster.run(container("true"))[""].phase is Phase.SUCCEEDED


def test_what_an_account_may_not_make_is_an_error(on_cluster: Home) -> None:
    server = on_cluster.server
    assert server is not None
    server.refuse["POST"] = 403
    root = on_cluster.run(container("true"))[""]
    assert root.phase is Phase.ERROR
    assert "the cluster refused POST pods" in root.message


@pytest.mark.parametrize(("is_own", "phase"), [(True, Phase.SUCCEEDED), (False, Phase.ERROR)])
def test_a_pod_of_another_try_is_removed_and_that_of_somebody_else_is_not(on_cluster: Home, is_own: bool, phase: Phase) -> None:
    server, kubelet = on_cluster.server, on_cluster.kubelet
    assert server is not None and kubelet is not None
    run = on_cluster.create(container("true"))
    uid = run.subject()[0].uid
    names = RunNames("home", uid, "wf")
    annotations = {WORKFLOW_ANNOTATION: "wf", POD_ANNOTATION: "wf" if is_own else "another", TRY_ANNOTATION: "7"}
    server.put("pods", {"metadata": {"name": names.pod("wf"), "labels": names.labels, "annotations": annotations}}, "ADDED")
    root = on_cluster.go_on(run)[""]
    assert root.phase is phase, root.message
    assert len(kubelet.begun) == int(is_own)


def test_a_pod_that_somebody_deletes_is_an_error(on_cluster: Home) -> None:
    server = on_cluster.server
    assert server is not None
    retry = "    retryStrategy: {limit: 1, retryPolicy: OnError}\n"
    run = on_cluster.create(container("test {{retries}} = 1 || sleep 1000", template=retry))
    running = begin(on_cluster, run)
    server.wait(lambda: has_running_pod(server))
    server.delete("pods", server.objects("pods")[0]["metadata"]["name"])
    running.join()
    nodes = run.nodes()
    assert (nodes["wf(0)"].phase, nodes["wf(0)"].message) == (Phase.ERROR, "pod deleted")
    assert nodes["wf"].phase is Phase.SUCCEEDED


def test_an_evicted_pod_failed_with_the_words_of_its_node(on_cluster: Home) -> None:
    server = on_cluster.server
    assert server is not None
    run = on_cluster.create(container("true"))
    running, pod = begin_held(on_cluster, run)
    server.put("pods", {**pod, "status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}})
    running.join()
    assert (run.nodes()["wf"].phase, run.nodes()["wf"].message) == (Phase.FAILED, "The node was low on resource: memory.")


def test_a_pod_that_cannot_start_says_why_and_a_stop_removes_it(on_cluster: Home) -> None:
    server = on_cluster.server
    assert server is not None
    run = on_cluster.create(container("true"))
    running, pod = begin_held(on_cluster, run)
    waiting = {"name": "main", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
    server.put("pods", {**pod, "status": {"phase": "Pending", "containerStatuses": [waiting]}})
    until(lambda: "no such image" in run.nodes()["wf"].message)
    assert run.nodes()["wf"].phase is Phase.PENDING
    run.ask_to_stop(STOP)
    running.join()
    assert run.nodes()["wf"].phase is Phase.FAILED
    assert on_cluster.is_clean()


def test_pods_that_failed_stay_where_pod_gc_says_so_until_their_run_goes(on_cluster: Home) -> None:
    server = on_cluster.server
    assert server is not None
    run = on_cluster.create("  podGC: {strategy: OnPodSuccess}\n" + container("false"))
    on_cluster.go_on(run)
    (pod,) = server.objects("pods")
    assert pod["status"]["phase"] == "Failed"
    on_cluster.runs.delete(run)
    assert on_cluster.is_clean()


def test_what_a_run_left_that_is_gone_is_removed_by_the_next_one(on_cluster: Home) -> None:
    server = on_cluster.server
    assert server is not None
    run = on_cluster.create("  podGC: {strategy: OnPodSuccess}\n" + container("false"))
    on_cluster.go_on(run)
    # As by a process that was killed: the folder is gone, and what is elsewhere is not.
    (run.path / "on-cluster").unlink()
    on_cluster.runs.delete(run)
    assert not on_cluster.is_clean()
    on_cluster.run(container("true"))
    assert on_cluster.is_clean()


def test_what_a_run_left_whose_process_was_killed_at_its_end_is_removed_by_the_next_one(on_cluster: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClusterPlace, "end", lambda *_: None)
    on_cluster.run(container("true"))
    assert not on_cluster.is_clean()
    monkeypatch.undo()
    on_cluster.run_another()
    assert on_cluster.is_clean()


def test_what_a_run_has_on_the_cluster_goes_with_the_pod_that_its_home_goes_with(on_cluster: Home) -> None:
    server, kubelet = on_cluster.server, on_cluster.kubelet
    assert server is not None and kubelet is not None
    on_cluster.set_owner("engine/uid-of-it")
    more = ", env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: k}}}]"
    files = "  volumeClaimTemplates: [{metadata: {name: c}, spec: {}}]\n" + container("true", more=more)
    run = on_cluster.create(f"{files}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{k: value}}\n")
    running, _ = begin_held(on_cluster, run)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "engine", "uid": "uid-of-it"}
    for kind in ("pods", "configmaps", "persistentvolumeclaims"):
        assert [one["metadata"]["ownerReferences"] for one in server.objects(kind)] == [[owner]]
    kubelet.gate.set()
    running.join()


def test_a_run_that_begins_again_keeps_what_another_one_s_sweep_sees_of_it(on_cluster: Home) -> None:
    server = on_cluster.server
    assert server is not None
    run = on_cluster.create(container("false"))
    on_cluster.go_on(run)
    assert on_cluster.is_clean()
    # One that goes, at the moment of the sweep; the next one of that name is made while it sweeps.
    names = RunNames((on_cluster.path / "argo" / "id").read_text(), run.subject()[0].uid, "wf")
    server.put("pods", {"metadata": {"name": "wf", **names.metadata}}, "ADDED")
    on_cluster.run_another()
    assert [pod["metadata"]["name"] for pod in server.objects("pods")] == ["wf"]


def test_what_an_ended_run_keeps_is_not_looked_at_by_others(on_cluster: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    on_cluster.run("  podGC: {strategy: OnPodSuccess}\n" + container("false"))
    ended = []
    end = ClusterPlace.end

    def look(self: ClusterPlace, folder: Path, subject: Subject, phase: Phase) -> None:
        ended.append(folder.name)
        end(self, folder, subject, phase)

    monkeypatch.setattr(ClusterPlace, "end", look)
    on_cluster.run_another()
    assert ended == ["other"]


def test_an_output_parameter_that_is_too_large_is_an_error(on_cluster: Home) -> None:
    root = on_cluster.run(container("head -c 17000000 /dev/zero > /tmp/p", template=P))[""]
    assert (root.phase, root.outputs.exit_code) == (Phase.ERROR, "64")
    assert "more than 16 MiB; give it as an output artifact" in on_cluster.log("wf")


def test_what_a_pod_printed_is_asked_for_until_the_cluster_answers(on_cluster: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cluster, "read_log", away_once(Cluster.read_log))
    assert on_cluster.run(container("echo hello"))[""].phase is Phase.SUCCEEDED
    assert on_cluster.log("wf") == "hello\n"


def test_logs_that_an_account_may_not_read_are_told_of_once(on_cluster: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object) -> bytes:
        raise ExecutionError("cluster-denied", "the cluster refused GET pods/log")

    monkeypatch.setattr(Cluster, "read_log", refuse)
    step = "    steps: [[{name: a, template: a}], [{name: b, template: a}]]\n"
    nodes = on_cluster.run(f"  templates:\n  - name: main\n{step}  - {{name: a, container: {{image: x, command: ['true']}}}}\n")
    assert nodes[""].phase is Phase.SUCCEEDED
    told = [one.getMessage() for one in caplog.records if "is not kept" in one.getMessage()]
    assert told == ["what the pods of workflow wf print is not kept: the cluster refused GET pods/log [cluster-denied]"]
