"""Real pods: processes of this machine, each in a root of its own."""

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pachyderm_dagster.argo.artifact_files import ArtifactFolder
from pachyderm_dagster.argo.control import STOP, TERMINATE
from pachyderm_dagster.argo.driving import run_to_end
from pachyderm_dagster.argo.nodes import KeptArtifact, Node, Phase
from pachyderm_dagster.argo.parameters import Archive, Artifact
from pachyderm_dagster.argo.pod_paths import Mount, PodPaths
from pachyderm_dagster.argo.resources import Objects
from pachyderm_dagster.argo.run_folder import Answer, Ending, RunFolder
from pachyderm_dagster.argo.runs import Runs, is_expired
from pachyderm_dagster.argo.workflows import TtlStrategy
from pachyderm_dagster.clock import ManualClock, SystemClock
from pachyderm_dagster.errors import ExistsError, InvalidError, NotFoundError, StateError
from tests.argo.playing import ignore, subject_of
from tests.worker.running import OF_THE_C_LIBRARY


class Home:
    """Runs workflows in a folder."""

    def __init__(self, path: Path, *, network: bool = False, objects: Callable[[], Objects] | None = None) -> None:
        self.runs, self._network = Runs(path, objects=objects), network

    def create(self, text: str) -> RunFolder:
        return self.runs.create(subject_of(text, {}, ManualClock()), network=self._network)

    def create_as(self, name: str, text: str) -> RunFolder:
        """Another run of the same home."""
        subject = subject_of(text, {}, ManualClock())
        return self.runs.create(replace(subject, metadata=msgspec.structs.replace(subject.metadata, name=name)), network=False)

    def go_on(self, run: RunFolder) -> Ending | None:
        return run_to_end(self.runs, run, SystemClock(), ignore)

    def run(self, text: str) -> dict[str, Node]:
        """Runs a workflow to its end; its nodes by name, without that of the workflow."""
        run = self.create(text)
        self.go_on(run)
        return {name.removeprefix("wf"): node for name, node in run.nodes().items()}

    def log(self, pod: str) -> str:
        return (self.runs.get("wf").path / "pods" / pod / "log").read_text()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def container(*lines: str, more: str = "", template: str = "") -> str:
    script = "; ".join(lines)
    return f"  templates:\n  - name: main\n    container: {{image: busybox, command: [sh, -c], args: [{script!r}]{more}}}\n{template}"


def test_a_pod_prints_and_writes_what_it_gives(home: Home) -> None:
    outputs = "    outputs: {parameters: [{name: p, valueFrom: {path: /of-a-pod/p}}, {name: d, valueFrom: {path: /no, default: dd}}]}\n"
    nodes = home.run(container("mkdir /of-a-pod", "echo hello", "echo oops >&2", "(echo a; echo b) > /of-a-pod/p", template=outputs))
    assert nodes[""].phase is Phase.SUCCEEDED, nodes[""].message
    assert nodes[""].outputs.parameters == {"p": "a\nb", "d": "dd"}
    assert home.log("wf") == "hello\noops\n"


def test_result_is_what_went_to_standard_output_without_its_last_line_end(home: Home) -> None:
    text = """  templates:
  - name: main
    steps:
    - - {name: a, template: gen}
    - - {name: b, template: say, arguments: {parameters: [{name: t, value: '{{steps.a.outputs.result}}'}]}}
  - {name: gen, script: {image: 'python:alpine', command: [python], source: "import sys; print('x'); print(); print('log', file=sys.stderr)"}}
  - {name: say, inputs: {parameters: [{name: t}]}, container: {image: argoproj/argosay:v2, args: [echo, '{{inputs.parameters.t}}']}}
"""
    nodes = home.run(text)
    assert nodes["[0].a"].outputs.result == "x\n"
    assert home.log(nodes["[1].b"].pod) == "x\n\n"


def test_results_of_many_pods_that_end_and_start_at_once_are_whole(home: Home) -> None:
    text = """  templates:
  - name: main
    steps:
    - - {name: a, template: say, withSequence: {count: 60}, arguments: {parameters: [{name: t, value: '{{item}}'}]}}
    - - {name: b, template: say, arguments: {parameters: [{name: t, value: '{{steps.a.outputs.result}}'}]}}
  - {name: say, inputs: {parameters: [{name: t}]}, container: {image: busybox, command: [echo, '{{inputs.parameters.t}}']}}
"""
    nodes = home.run(text)
    assert nodes["[1].b"].inputs == {"t": "[" + ",".join(map(str, range(60))) + "]"}


def test_exit_codes_fail_the_node(home: Home) -> None:
    nodes = home.run(container("exit 3"))
    assert (nodes[""].phase, nodes[""].message, nodes[""].outputs.exit_code) == (Phase.FAILED, "Error (exit code 3)", "3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  templates: [{name: main, container: {image: x, command: [no-such-program]}}]\n", "the program 'no-such-program' is not on this machine"),
        ("  templates: [{name: main, container: {image: x}}]\n", "what the image 'x' runs is not known"),
        (container("true", template="    outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}\n"), "nothing was written to /p"),
        (container("true", template="    outputs: {artifacts: [{name: p, path: /p}]}\n"), "nothing was written to /p"),
        (container("true", template="    inputs: {artifacts: [{name: p, path: /etc/p, raw: {data: x}}]}\n"), "cannot be written"),
        (container("true", more=", volumeMounts: [{name: gone, mountPath: /v}]"), "the volume 'gone'"),
        (container("true", more=", env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]"), "the Secret 's' is in none of the files"),
    ],
)
def test_what_surrounds_user_code_makes_errors(home: Home, text: str, said: str) -> None:
    root = home.run(text)[""]
    assert root.phase is Phase.ERROR
    assert said in root.message


def test_pods_have_roots_of_their_own_and_the_machine_is_read_only(home: Home, tmp_path: Path) -> None:
    text = f"""  templates:
  - name: main
    steps: [[{{name: a, template: w, withItems: [1, 2, 3]}}]]
  - name: w
    script:
      image: busybox
      command: [sh, -ex]
      source: |
        test ! -e /mine
        echo $HOSTNAME > /mine
        sleep 0.2
        grep -q $HOSTNAME /mine
        ! touch /usr/x
        ! ls {tmp_path}
"""
    assert home.run(text)[""].phase is Phase.SUCCEEDED, home.log("wf")


def test_pods_ignore_no_signals(home: Home) -> None:
    root = home.run("  templates: [{name: main, container: {image: x, command: [grep, SigIgn, /proc/self/status]}}]\n")[""]
    assert root.phase is Phase.SUCCEEDED
    name, ignored = home.log("wf").split()
    assert (name, int(ignored, 16) & ~OF_THE_C_LIBRARY) == ("SigIgn:", 0)


def test_pods_see_their_own_processes_and_no_network(home: Home) -> None:
    text = container(
        "echo $$ > /p",
        "wc -l < /proc/net/route > /routes",
        template="    outputs: {parameters: [{name: p, valueFrom: {path: /p}}, {name: r, valueFrom: {path: /routes}}]}\n",
    )
    assert home.run(text)[""].outputs.parameters == {"p": "1", "r": "1"}


def test_the_environment_is_what_the_container_says(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKED", "1")
    secret = f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {{k: {base64.b64encode(b'hidden').decode()}}}\n"
    config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: two}\n"
    more = ", env: [{name: A, value: 5}, {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}], workingDir: /tmp"
    more += ", envFrom: [{prefix: C_, configMapRef: {name: c}}]"
    home.run(container("echo $A $S $C_a $C_b [$LEAKED] $PWD", more=more) + secret + config)
    assert home.log("wf") == "5 hidden 1 two [] /tmp\n"


def test_volumes_are_shared_as_their_kind_says(home: Home, tmp_path: Path) -> None:
    claim = tmp_path / "argo" / "claims" / "data"
    claim.mkdir(parents=True)
    (claim / "file").write_text("stays")
    text = """  volumeClaimTemplates: [{metadata: {name: work}, spec: {accessModes: [ReadWriteOnce]}}]
  volumes:
  - {name: empty, emptyDir: {}}
  - {name: data, persistentVolumeClaim: {claimName: data}}
  - {name: conf, configMap: {name: c}}
  templates:
  - name: main
    steps: [[{name: a, template: w}], [{name: b, template: r}]]
  - name: w
    container:
      image: busybox
      command: [sh, -c]
      args: ["echo 1 > /work/f; echo 1 > /empty/f"]
      volumeMounts: &m
      - {name: work, mountPath: /work}
      - {name: empty, mountPath: /empty}
      - {name: data, mountPath: /data, readOnly: true}
      - {name: conf, mountPath: /conf}
  - name: r
    container:
      image: busybox
      command: [sh, -c]
      args: ["cat /work/f /data/file /conf/k; ls /empty; touch /data/x || echo read-only"]
      volumeMounts: *m
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {k: configured}
"""
    nodes = home.run(text)
    assert nodes[""].phase is Phase.SUCCEEDED, nodes[""].message
    log = home.log(nodes["[1].b"].pod)
    assert log.startswith("1\nstaysconfigured") and log.endswith("read-only\n")


@pytest.mark.parametrize(
    ("more", "volume", "said"),
    [
        ("", "hostPath: {path: /etc}", "is of the kind hostPath"),
        ("", "csi: {driver: d}", "is of the kind csi"),
        ("", "projected: {sources: [{serviceAccountToken: {path: t}}]}", "a token of a service account"),
        ("", "downwardAPI: {items: [{path: l, resourceFieldRef: {resource: limits.cpu}}]}", "holds limits"),
        (", volumeDevices: [{name: v, devicePath: /dev/v}]", "emptyDir: {}", "volumeDevices"),
        (", volumeMounts: [{name: v, mountPath: /v, subPathExpr: $(A)}]", "emptyDir: {}", "subPathExpr"),
        (", env: [{name: L, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]", "emptyDir: {}", "'L' is a limit"),
    ],
)
def test_what_this_machine_has_none_of_is_refused_before_a_run_is_kept(home: Home, more: str, volume: str, said: str) -> None:
    with pytest.raises(InvalidError, match="spec-unsupported") as found:
        home.create(f"  volumes: [{{name: v, {volume}}}]\n" + container("true", more=more))
    assert said in found.value.message and "PACHYDERM_EXECUTOR=kubernetes" in found.value.message
    assert home.runs.list() == []


def test_a_pod_knows_its_name_and_where_it_is_and_nothing_that_it_has_not(home: Home) -> None:
    names = ("metadata.name", "metadata.namespace", "spec.serviceAccountName", "status.podIP", "metadata.labels")
    env = ", ".join(f"{{name: V{number}, valueFrom: {{fieldRef: {{fieldPath: {name}}}}}}}" for number, name in enumerate(names))
    head = "  podMetadata: {labels: {b: x, a: q}}\n  serviceAccountName: me\n"
    home.run(head + container('echo "$V0 $V1 $V2 $V3 $V4"', more=f", env: [{env}]"))
    assert home.log("wf") == 'wf default me 127.0.0.1 a="q"\nb="x"\n'


def test_a_field_that_a_pod_has_not_is_an_error(home: Home) -> None:
    root = home.run(container("true", more=", env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.gone}}}]"))[""]
    assert root.phase is Phase.ERROR and "knows no 'spec.gone' of itself" in root.message


def test_files_of_volumes_have_the_permissions_that_they_are_given(home: Home) -> None:
    text = """  volumes:
  - {name: c, configMap: {name: c, defaultMode: 0600, items: [{key: one, path: one}, {key: one, path: two, mode: 0755}]}}
"""
    files = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {one: x}\n"
    home.run(text + container("stat -c %a /c/one /c/two", more=", volumeMounts: [{name: c, mountPath: /c}]") + files)
    assert home.log("wf") == "600\n755\n"


def test_artifacts_go_from_pod_to_pod(home: Home) -> None:
    text = """  templates:
  - name: main
    steps:
    - - {name: a, template: w}
    - - name: b
        template: r
        arguments:
          artifacts:
          - {name: i, from: '{{steps.a.outputs.artifacts.folder}}'}
          - {name: j, from: '{{steps.a.outputs.artifacts.plain}}', subPath: sub/x}
          - {name: k, raw: {data: raw}}
  - name: w
    container: {image: busybox, command: [sh, -c], args: ["mkdir -p /out/sub; echo x > /out/sub/x"]}
    outputs:
      artifacts:
      - {name: folder, path: /out}
      - {name: plain, path: /out/., archive: {none: {}}, s3: {key: some/where}}
      - {name: none, path: /gone, optional: true}
  - name: r
    inputs:
      artifacts:
      - {name: i, path: /in}
      - {name: j, path: /x/y, mode: 0755}
      - {name: k, path: /raw}
      - {name: never, path: /never, optional: true}
    container: {image: busybox, command: [sh, -c], args: ["cat /in/sub/x /x/y /raw; test -x /x/y && ls /never"]}
"""
    nodes = home.run(text)
    assert nodes["[0].a"].phase is Phase.SUCCEEDED, nodes["[0].a"].message
    assert home.log(nodes["[1].b"].pod).startswith("x\nx\nraw")
    run = home.runs.get("wf")
    assert (run.path / "artifacts" / "some" / "where" / "sub" / "x").read_text() == "x\n"
    assert (run.path / "artifacts" / "wf" / nodes["[0].a"].pod / "folder.tgz").is_file()


def test_a_deadline_ends_all_that_a_pod_started(home: Home) -> None:
    nodes = home.run(container("sleep 1000 & sleep 1000", template="    activeDeadlineSeconds: 1\n"))
    assert (nodes[""].phase, nodes[""].message) == (Phase.FAILED, "Pod was active on the node longer than the specified deadline")


def test_a_suspended_run_ends_its_process_and_goes_on_with_an_answer(home: Home) -> None:
    text = """  templates:
  - name: main
    steps: [[{name: w, template: wait}], [{name: s, template: say, arguments: {parameters: [{name: t, value: '{{steps.w.outputs.parameters.ok}}'}]}}]]
  - {name: wait, suspend: {}, outputs: {parameters: [{name: ok, valueFrom: {supplied: {}}}]}}
  - {name: say, inputs: {parameters: [{name: t}]}, container: {image: busybox, command: [echo, '{{inputs.parameters.t}}']}}
"""
    run = home.create(text)
    assert home.go_on(run) is None
    (waiting,) = run.suspended()
    assert run.phase() is Phase.RUNNING
    run.answer([Answer(waiting.name, {"ok": "fine"})])
    ending = home.go_on(run)
    assert ending is not None and ending.phase is Phase.SUCCEEDED
    assert home.log(run.nodes()["wf[1].s"].pod) == "fine\n"


def test_a_run_has_one_process_and_one_name(home: Home) -> None:
    run = home.create(container("true"))
    with pytest.raises(ExistsError, match="workflow-exists"):
        home.create(container("true"))
    with run.running(), pytest.raises(StateError, match="workflow-running"):
        home.go_on(run)
    with pytest.raises(NotFoundError, match="workflow-not-found"):
        home.runs.get("other")


class Meeting(dict[str, Path]):
    """Files of a workflow of which two copies are made at the same time: after both were found to be new."""

    def __init__(self, files: dict[str, Path]) -> None:
        super().__init__(files)
        self._both = threading.Barrier(2)

    def items(self) -> Any:
        self._both.wait()
        return super().items()


def test_of_two_that_create_a_run_at_once_one_is_told_that_it_exists(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = Meeting({"file": tmp_path / "file"})

    def create_as(uid: str) -> str:
        try:
            subject = replace(subject_of(container("true"), {}, ManualClock()), uid=uid)
            return home.runs.create(subject, network=False, files=files).name
        except ExistsError as error:
            return error.code

    with ThreadPoolExecutor() as pool:
        assert sorted(pool.map(create_as, ["one", "two"])) == ["wf", "workflow-exists"]
    assert [path.name for path in (tmp_path / "argo" / "runs").iterdir() if path.is_dir()] == ["wf"]


def test_who_asks_whether_a_run_is_running_keeps_nobody_from_running_it(home: Home) -> None:
    run = home.create(container("true"))
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            run.is_running()

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            for number in range(300):
                with run.running(shared=bool(number % 2)):
                    pass
        finally:
            over.set()
        assert [one.result() for one in asking] == [None, None]
    with run.running(shared=True):
        assert run.is_running()
    assert not run.is_running()


def test_a_torn_line_of_the_journal_counts_for_nothing(home: Home) -> None:
    run = home.create(container("true"))
    home.go_on(run)
    whole = run.nodes()
    journal = run.path / "nodes"
    journal.write_bytes(journal.read_bytes() + b'{"name":"wf","id":')
    assert run.nodes() == whole
    home.go_on(run)
    assert run.nodes() == whole


# --- what is kept, and for how long


def test_what_a_pod_printed_is_an_artifact_when_logs_are_archived(home: Home) -> None:
    nodes = home.run("  archiveLogs: true\n" + container("echo hello"))
    kept = nodes[""].outputs.artifacts["main-logs"]
    assert kept.key == "wf/wf/main.log"
    assert (home.runs.get("wf").path / "artifacts" / kept.key).read_text() == "hello\n"
    assert "main-logs" not in home_of(home, "off").run(container("true", template="    archiveLocation: {archiveLogs: false}\n"))[""].outputs.artifacts


def home_of(home: Home, name: str) -> Home:
    return Home(home.runs.claims.parent / name)


@pytest.mark.parametrize(
    ("strategy", "kept"),
    [("OnPodCompletion", []), ("OnPodSuccess", ["bad"]), ("OnWorkflowCompletion", []), ("OnWorkflowSuccess", ["bad", "good"])],
)
def test_roots_of_pods_are_removed_when_pod_gc_says_so(home: Home, strategy: str, kept: list[str]) -> None:
    text = f"""  podGC: {{strategy: {strategy}}}
  templates:
  - {{name: main, steps: [[{{name: good, template: good}}, {{name: bad, template: bad}}]]}}
  - {{name: good, container: {{image: busybox, command: [sh, -c], args: ['echo good; touch /file']}}}}
  - {{name: bad, container: {{image: busybox, command: [sh, -c], args: ['echo bad; exit 1']}}}}
"""
    nodes = home.run(text)
    pods = home.runs.get("wf").path / "pods"
    assert [name for name in ("bad", "good") if (pods / nodes[f"[0].{name}"].pod / "root").exists()] == kept
    assert home.log(nodes["[0].good"].pod) == "good\n"


def test_runs_are_removed_when_their_time_is_over(home: Home) -> None:
    run = home.create("  ttlStrategy: {secondsAfterSuccess: 60, secondsAfterCompletion: 5}\n" + container("true"))
    ending = home.go_on(run)
    assert ending is not None
    home.runs.delete_expired(ending.finished + 59)
    assert home.runs.list() == [run]
    home.runs.delete_expired(ending.finished + 60)
    assert home.runs.list() == []
    failed = TtlStrategy(seconds_after_success=60, seconds_after_completion=5)
    assert (is_expired(failed, Phase.FAILED, 4), is_expired(failed, Phase.FAILED, 5), is_expired(None, Phase.FAILED, 1e9)) == (False, True, False)


def test_run_that_two_processes_delete_at_once_is_deleted_once(home: Home) -> None:
    run = home.create(container("true"))
    both = threading.Barrier(2)

    def delete() -> bool:
        both.wait()
        return Runs(run.path.parents[2]).delete(run)

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(delete) for _ in range(2)]
    told = [one.result() for one in done if one.exception() is None]
    assert told.count(True) == 1
    assert [type(one.exception()) for one in done if one.exception() is not None] in ([], [StateError])
    assert home.runs.list() == [] and not run.is_running()
    assert not home.runs.delete(run)


def test_an_expired_run_that_is_still_closed_is_removed_the_next_time(home: Home) -> None:
    runs = [home.create_as(name, "  ttlStrategy: {secondsAfterCompletion: 10}\n" + container("true")) for name in ("one", "two")]
    ended = [home.go_on(run) for run in runs]
    late = max(end.finished for end in ended if end is not None) + 11
    with runs[0].running():
        home.runs.delete_expired(late)
        assert home.runs.list() == [runs[0]]
    home.runs.delete_expired(late)
    assert home.runs.list() == []


def test_runs_that_another_process_removes_meanwhile_are_passed_over(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    run = home.create("  ttlStrategy: {secondsAfterCompletion: 0}\n" + container("true"))
    home.go_on(run)
    other, found = Runs(home.runs.claims.parent.parent), home.runs.list()
    other.delete(run)
    monkeypatch.setattr(home.runs, "list", lambda: found)
    home.runs.delete_expired(SystemClock().now().timestamp() + 60)
    (run.path.parent / "of-nobody").mkdir()
    assert other.list() == []


def test_what_is_left_of_runs_that_were_half_made_or_half_removed_is_removed(home: Home, tmp_path: Path) -> None:
    kept = home.create(container("true"))
    half = [tmp_path / "argo" / "runs" / name for name in (".other.uid", ".other.deleted")]
    for path in half:
        (path / "artifacts").mkdir(parents=True)
    # Whoever makes a run is not disturbed.
    with home.runs._changing():
        home.runs.delete_expired(0.0)
        assert all(path.exists() for path in half)
    home.runs.delete_expired(0.0)
    assert not any(path.exists() for path in half)
    assert home.runs.list() == [kept]


def test_a_template_of_another_run_gives_its_artifact_from_a_cache(home: Home) -> None:
    text = """  templates:
  - {name: main, steps: [[{name: m, template: make}], [{name: u, template: use, arguments: ARGUMENTS}]]}
  - name: make
    memoize: {key: k, cache: {configMap: {name: c}}}
    container: {image: busybox, command: [sh, -c], args: ['echo made > /f; echo ran']}
    outputs: {artifacts: [{name: f, path: /f}]}
  - {name: use, inputs: {artifacts: [{name: f, path: /in}]}, container: {image: busybox, command: [cat, /in]}}
""".replace("ARGUMENTS", "{artifacts: [{name: f, from: '{{steps.m.outputs.artifacts.f}}'}]}")
    first = home.run(text)
    home.runs.get("wf").path.rename(home.runs.get("wf").path.with_name("first"))
    again = home.run(text)
    # The artifact of the first run is not where it was: it is made again.
    assert (first["[0].m"].from_cache, again["[0].m"].from_cache) == (False, False)
    run = home.create_as("second", text)
    home.go_on(run)
    nodes = run.nodes()
    assert nodes["second[0].m"].from_cache
    assert (run.path / "pods" / nodes["second[1].u"].pod / "log").read_text() == "made\n"


# --- what people ask


def test_a_workflow_that_is_suspended_is_not_begun_and_goes_on_when_it_is_resumed(home: Home) -> None:
    run = home.create("  suspend: true\n" + container("echo hello"))
    assert home.go_on(run) is None
    assert (run.nodes(), run.phase(), run.is_suspended()) == ({}, Phase.RUNNING, True)
    run.resume()
    ending = home.go_on(run)
    assert ending is not None and ending.phase is Phase.SUCCEEDED


def test_nothing_begins_after_a_workflow_was_suspended(home: Home) -> None:
    text = """  templates:
  - {name: main, steps: [[{name: w, template: wait}], [{name: s, template: say}]]}
  - {name: wait, suspend: {}}
  - {name: say, container: {image: busybox, command: [echo, hello]}}
"""
    run = home.create(text)
    assert home.go_on(run) is None
    run.suspend()
    run.answer([Answer("wf[0].w")])
    assert home.go_on(run) is None
    assert "wf[1].s" not in run.nodes()
    run.resume()
    assert home.go_on(run) is not None


def test_a_workflow_that_waits_is_stopped_with_its_handler(home: Home) -> None:
    text = "  onExit: say\n  templates:\n  - {name: main, suspend: {}}\n  - {name: say, container: {image: busybox, command: [echo, hello]}}\n"
    run = home.create(text)
    assert home.go_on(run) is None
    ending = run_to_end(home.runs, run, SystemClock(), ignore, stop=STOP)
    assert ending is not None and (ending.phase, ending.message) == (Phase.FAILED, "workflow shutdown with strategy: Stop")
    assert run.nodes()["wf.onExit"].phase is Phase.SUCCEEDED


@pytest.mark.parametrize("strategy", [STOP, TERMINATE])
def test_a_workflow_that_was_not_begun_is_stopped(home: Home, strategy: str) -> None:
    run = home.create("  suspend: true\n" + container("echo hello"))
    ending = run_to_end(home.runs, run, SystemClock(), ignore, stop=strategy)
    assert ending is not None and ending.phase is Phase.FAILED


def test_what_a_node_is_given_is_kept_until_it_is_resumed(home: Home) -> None:
    outputs = "outputs: {parameters: [{name: a, valueFrom: {supplied: {}}}, {name: b, valueFrom: {supplied: {}}}]}"
    run = home.create(f"  templates:\n  - {{name: main, suspend: {{}}, {outputs}}}\n")
    home.go_on(run)
    run.answer([Answer("wf", {"a": "1", "b": "old"}, None)])
    assert [node.name for node in run.suspended()] == ["wf"]
    run.answer([Answer("wf", {"b": "2"})])
    home.go_on(run)
    assert run.nodes()["wf"].outputs.parameters == {"a": "1", "b": "2"}


def test_a_node_may_be_made_to_fail(home: Home) -> None:
    run = home.create("  templates:\n  - {name: main, suspend: {}}\n")
    home.go_on(run)
    run.answer([Answer("wf", {}, Phase.FAILED, "not today")])
    ending = home.go_on(run)
    assert ending is not None and (ending.phase, ending.message) == (Phase.FAILED, "not today")


def test_runs_wait_for_each_others_locks_also_while_one_waits_for_people(home: Home) -> None:
    locked = "  synchronization: {mutexes: [{name: m}]}\n  templates:\n"
    run = home.create(locked + "  - {name: main, suspend: {}}\n")
    assert home.go_on(run) is None
    other = home.create_as("other", locked + "  - {name: main, container: {image: busybox, command: ['true']}}\n")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(home.go_on, other)
        while not any("Waiting for" in node.message for node in other.nodes().values()):
            assert other.ending() is None
        run.answer([Answer("wf")])
        assert home.go_on(run) is not None
        ended = running.result()
    assert ended is not None and ended.phase is Phase.SUCCEEDED
    assert other.nodes()["other"].finished >= run.nodes()["wf"].finished


# --- paths and artifacts as files


def test_links_in_a_pod_lead_to_where_the_pod_would_go(tmp_path: Path) -> None:
    root, volume = tmp_path / "root", tmp_path / "volume"
    (root / "a").mkdir(parents=True)
    volume.mkdir()
    (root / "a" / "up").symlink_to("../../../../etc/passwd")
    (root / "a" / "abs").symlink_to("/v/file")
    (root / "loop").symlink_to("/loop")
    paths = PodPaths(str(root), [Mount(str(volume), "/v")])
    assert paths.find("/a/up") == f"{root}/etc/passwd"
    assert paths.find("/a/abs") == f"{volume}/file"
    assert paths.find("/v/../a") == f"{root}/a"
    assert paths.find("/var") == f"{root}/var"
    with pytest.raises(InvalidError, match="path-invalid"):
        paths.find("/loop/x")


@pytest.mark.parametrize("archive", [None, Archive(none={}), Archive(zip={})])
def test_a_folder_comes_out_of_the_store_as_it_went_in(tmp_path: Path, archive: Archive | None) -> None:
    store = ArtifactFolder(tmp_path / "store")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "f").write_text("x")
    (tmp_path / "in" / "g").write_text("y")
    artifact = Artifact(name="a", archive=archive)
    kept = store.put(str(tmp_path / "in"), artifact, "wf/pod/a")
    store.get(kept, artifact, str(tmp_path / "out"))
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")) == ["g", "sub", "sub/f"]


@pytest.mark.parametrize("key", ["../x", "/", "a/../../x", ""])
def test_keys_do_not_lead_out_of_the_store(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidError, match="artifact-key-invalid"):
        ArtifactFolder(tmp_path / "store").get(KeptArtifact(key), Artifact(name="a"), str(tmp_path / "out"))


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="artifact-not-found"):
        ArtifactFolder(tmp_path / "store").get(KeptArtifact("a/b"), Artifact(name="a"), str(tmp_path / "out"))
