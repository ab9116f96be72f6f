"""Pods with several containers, and daemons, as processes of this machine."""

from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.readiness import probe_of
from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError
from tests.argo.playing import subject_of
from tests.argo.test_pods import Home, container


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


SHELL = "image: busybox, command: [sh, -ec]"
MOUNT = "volumeMounts: [{name: shared, mountPath: /shared}]"
SHARED = "    volumes: [{name: shared, emptyDir: {}}]\n"


def test_init_containers_run_one_after_the_other_before_the_main_one(home: Home) -> None:
    more = f"    initContainers:\n    - {{name: one, {SHELL}, args: ['echo one > /shared/f; touch /mine'], {MOUNT}}}\n"
    more += f"    - {{name: two, {SHELL}, args: ['test ! -e /mine; echo two >> /shared/f'], mirrorVolumeMounts: true}}\n"
    nodes = home.run(container("cat /shared/f", more=f", {MOUNT}", template=more + SHARED))
    assert nodes[""].phase is Phase.SUCCEEDED, nodes[""].message
    assert home.log("wf") == "one\ntwo\n"


def test_an_init_container_that_fails_is_the_pods_failure(home: Home) -> None:
    nodes = home.run(container("echo never", template=f"    initContainers: [{{name: one, {SHELL}, args: ['exit 4']}}]\n"))
    assert (nodes[""].phase, nodes[""].message) == (Phase.FAILED, "the init container 'one': Error (exit code 4)")
    assert not (home.runs.get("wf").path / "pods" / "wf" / "log").exists()


def test_sidecars_run_beside_and_are_ended_and_their_end_counts_for_nothing(home: Home) -> None:
    more = f"    sidecars:\n    - {{name: s, {SHELL}, args: ['touch /shared/ready; sleep 1000'], mirrorVolumeMounts: true}}\n"
    more += f"    - {{name: broken, {SHELL}, args: ['exit 9']}}\n"
    nodes = home.run(container("while test ! -e /shared/ready; do sleep 0.01; done; echo seen", more=f", {MOUNT}", template=more + SHARED))
    assert (nodes[""].phase, home.log("wf")) == (Phase.SUCCEEDED, "seen\n")


SET = """  templates:
  - name: main
    containerSet:
      volumeMounts: [{{name: shared, mountPath: /shared}}]
      {retry}
      containers:
      - {{name: a, image: busybox, command: [sh, -ec], args: ['{a}']}}
      - {{name: b, image: busybox, command: [sh, -ec], args: ['echo b >> /shared/f']}}
      - {{name: main, image: busybox, command: [sh, -ec], args: ['cp /shared/f /f; echo done'], dependencies: [a, b]}}
    outputs: {{parameters: [{{name: p, valueFrom: {{path: /f}}}}]}}
    volumes: [{{name: shared, emptyDir: {{}}}}]
"""


def test_a_container_set_is_one_pod_with_a_node_for_each_container(home: Home) -> None:
    nodes = home.run(SET.format(retry="", a="test ! -e /f; echo a >> /shared/f; touch /f"))
    assert {name: (node.type.value, node.phase.value) for name, node in nodes.items()} == {
        "": ("Pod", "Succeeded"),
        ".a": ("Container", "Succeeded"),
        ".b": ("Container", "Succeeded"),
        ".main": ("Container", "Succeeded"),
    }
    assert sorted(nodes[""].outputs.parameters["p"].split()) == ["a", "b"]


def test_containers_after_one_that_failed_are_omitted(home: Home) -> None:
    nodes = home.run(SET.format(retry="", a="exit 2"))
    assert (nodes[""].phase, nodes[""].message) == (Phase.FAILED, "Error (exit code 2)")
    assert {name: node.phase.value for name, node in nodes.items() if name} == {".a": "Failed", ".b": "Succeeded", ".main": "Omitted"}


def test_containers_of_a_set_are_tried_again(home: Home) -> None:
    nodes = home.run(SET.format(retry="retryStrategy: {retries: 2}", a="echo x >> /shared/tries; test $(wc -l < /shared/tries) = 3; echo a >> /shared/f"))
    assert nodes[""].phase is Phase.SUCCEEDED, nodes[".a"].message


SERVER = """  templates:
  - name: main
    steps:
    - - {name: serve, template: serve}
    - - {name: ask, template: ask, arguments: {parameters: [{name: ip, value: '{{steps.serve.ip}}'}]}}
  - name: serve
    daemon: true
    script:
      image: python:alpine
      command: [python]
      source: |
        import http.server, os, pathlib
        os.mkdir("/www"); os.chdir("/www")
        server = http.server.HTTPServer(("127.0.0.1", 18734), http.server.SimpleHTTPRequestHandler)
        pathlib.Path("hello").write_text("served")
        server.serve_forever()
      readinessProbe: {PROBE, periodSeconds: 0.05}
  - name: ask
    inputs: {parameters: [{name: ip}]}
    script:
      image: python:alpine
      command: [python]
      source: |
        import urllib.request
        print(urllib.request.urlopen("http://{{inputs.parameters.ip}}:18734/hello").read().decode())
"""


@pytest.mark.parametrize("probe", ["httpGet: {path: /hello, port: 18734}", "tcpSocket: {port: 18734}", "exec: {command: [test, -e, /www/hello]}"])
def test_a_daemon_is_used_when_its_probe_says_that_it_is_ready(home: Home, probe: str) -> None:
    text = SERVER.replace("PROBE", probe)
    nodes = home.run(text)
    assert {name: node.phase.value for name, node in nodes.items() if node.pod} == {"[0].serve": "Succeeded", "[1].ask": "Succeeded"}
    assert home.log(nodes["[1].ask"].pod) == "served\n"


def test_a_daemon_without_a_probe_is_ready_when_it_was_started(home: Home) -> None:
    text = "  templates:\n  - {name: main, daemon: true, container: {image: busybox, command: [sleep, '1000']}}\n"
    assert home.run(text)[""].phase is Phase.SUCCEEDED


def test_a_daemon_whose_program_is_not_there_has_failed(home: Home) -> None:
    root = home.run("  templates: [{name: main, daemon: true, container: {image: x, command: [no-such-program]}}]\n")[""]
    assert root.phase is Phase.ERROR and "not on this machine" in root.message


def test_a_probe_that_takes_too_long_has_failed(home: Home) -> None:
    """The first one would never end; those after it find what it left."""
    slow = "exec: {command: [sh, -c, 'test -e /asked && exit; touch /asked; sleep 1000']}, timeoutSeconds: 0.2"
    nodes = home.run(SERVER.replace("PROBE", slow).replace("18734", "18735"))
    assert nodes["[0].serve"].phase is Phase.SUCCEEDED, nodes["[0].serve"].message


def test_a_probe_that_turns_out_to_be_none_fails_the_daemon(home: Home) -> None:
    nodes = home.run(SERVER.replace("PROBE", "tcpSocket: {port: '{{workflow.name}}'}"))
    assert nodes["[0].serve"].phase is Phase.ERROR and "the readinessProbe is not understood" in nodes["[0].serve"].message


def test_the_probe_of_a_daemon_is_checked_with_the_file() -> None:
    with pytest.raises(InvalidError, match=r"script\.readinessProbe: the readinessProbe is not understood"):
        subject_of(SERVER.replace("PROBE", "tcpSocket: {port: x}"), {}, ManualClock())
    # Of what is no daemon nobody asks whether it is ready.
    subject_of(SERVER.replace("PROBE", "tcpSocket: {port: x}").replace("    daemon: true\n", ""), {}, ManualClock())


def test_probes_that_are_none_are_refused() -> None:
    wrong: tuple[dict[str, Any], ...] = ({}, {"httpGet": {}}, {"tcpSocket": {"port": "x"}}, {"exec": {}})
    for found in wrong:
        with pytest.raises(InvalidError, match="probe-invalid"):
            probe_of(found)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc"])
def test_a_sub_path_does_not_lead_out_of_its_volume(home: Home, path: str) -> None:
    mount = ", volumeMounts: [{name: shared, mountPath: /v, subPath: '{{workflow.parameters.p}}'}]"
    arguments = f"  arguments: {{parameters: [{{name: p, value: {path}}}]}}\n"
    root = home.run(arguments + container("ls /v", more=mount, template=SHARED))[""]
    assert root.phase is Phase.ERROR and "leads out of it" in root.message


def test_a_link_in_a_volume_does_not_lead_a_sub_path_out(home: Home, tmp_path: Path) -> None:
    claim = tmp_path / "argo" / "claims" / "data"
    claim.mkdir(parents=True)
    (claim / "link").symlink_to("/etc")
    text = container("touch /v/made", more=", volumeMounts: [{name: d, mountPath: /v, subPath: link}]")
    root = home.run("  volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]\n" + text)[""]
    assert root.phase is Phase.SUCCEEDED, root.message
    assert (claim / "etc" / "made").exists()
