"""What kfp itself says of exported pipelines, and does with them: its oldest supported version and the newest, in environments of their own."""

import dataclasses
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pachyderm_dagster.cli.main import main
from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.kubeflow.api import KubeflowApi
from pachyderm_dagster.kubeflow.options import Options, Transport
from pachyderm_dagster.kubeflow.runs import ENDED, RunRequest, end_run, follow_run, start_run
from tests.cli.pachctl import ROOT, Pachctl
from tests.kubeflow.api_server import ApiServer, api_server, finish
from tests.kubeflow.orchestrating import HERE, PYTHONS, call, make_example, run_locally
from tests.kubeflow.playing import Player, Pod
from tests.kubeflow.specs import EDGES, ID, MONTAGE, PINNED, changed, documents_of, exported
from tests.kubeflow.with_kfp.docker import Container

pytestmark = [pytest.mark.kfp, pytest.mark.timeout(600)]
newest = pytest.mark.parametrize("kfp", PYTHONS[-1:], indirect=True)
"""Not on every version: a run takes as long as its pods."""
EVERYTHING = changed(
    EDGES,
    description="all that there is",
    transform__env={"A": "b"},
    transform__stdin=["one", "two"],
    transform__secrets=[{"name": "s", "env_var": "KEY", "key": "k"}, {"name": "t", "mount_path": "/t"}],
    transform__image_pull_secrets=["registry"],
    transform__memory_volume=True,
    transform__user="1000",
    resource_requests={"cpu": 0.5, "memory": "512Mi"},
    resource_limits={"cpu": 2, "memory": "1G", "gpu": {"type": "nvidia.com/gpu", "number": 1}},
    scheduling_spec={"node_selector": {"disk": "ssd"}},
    tolerations=[{"key": "gpu", "operator": "EXISTS"}, {"key": "a", "operator": "EQUAL", "value": "b", "effect": "NO_EXECUTE", "toleration_seconds": 5}],
    metadata={"labels": {"team": "x"}, "annotations": {"note": "y"}},
    job_timeout="90s",
    parallelism_spec={"constant": 3},
    reprocess_spec="every_job",
)


@pytest.fixture(params=PYTHONS)
def kfp(request: pytest.FixtureRequest) -> str:
    """A Python that has kfp."""
    python = str(request.param)
    assert python, "tests/kubeflow/run says where kfp is"
    return python


def test_exports_are_read_strictly_and_compile_to_themselves(kfp: str, tmp_path: Path) -> None:
    files = []
    for transport in Transport:
        for name, documents in {"plain": (EDGES, MONTAGE), "everything": (EVERYTHING,), "both": (EVERYTHING, MONTAGE)}.items():
            files.append(tmp_path / f"{name}-{transport.value}.yaml")
            files[-1].write_text(exported(*documents, options=dataclasses.replace(PINNED, transport=transport, artifact_root="s3://bucket/x")).to_yaml())
    assert re.search(r"kfp 2\.\d+", call(kfp, "check.py", str(tmp_path / "again.yaml"), *map(str, files)))


def test_what_is_generated_is_read_strictly_and_compiles_to_itself(kfp: str, tmp_path: Path) -> None:
    files = sorted(map(str, (ROOT / "kubeflow").glob("*/*.yaml")))
    assert len(files) > 8
    call(kfp, "check.py", str(tmp_path / "again.yaml"), *files)


@newest
def test_people_use_the_components_in_pipelines_of_their_own(kfp: str, tmp_path: Path, pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    id = pachctl.put("books@master:/hamlet", "to be")
    call(kfp, "louder.py", str(ROOT / "kubeflow/components"), str(tmp_path / "louder.yaml"))
    compiled = (tmp_path / "louder.yaml").read_text()
    assert len(documents_of(compiled)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]) == 6
    published = tmp_path / "published"
    pachctl("export", "files", "books@master", "--artifact-root", f"file://{published}")

    def run() -> None:
        run_locally(kfp, tmp_path, tmp_path / "louder.yaml", f"uri={published}/default/books/{id}", f"old={id}", folders=[published])

    run()
    assert pachctl("get", "file", "loud@master:/hamlet").out == "TO BE"
    made = pachctl.json("inspect", "commit", "loud@master")[0]
    assert made["direct_provenance"] == [f"books@{id}"]
    pachctl.put("books@master:/moby-dick", "call me")
    run()
    assert pachctl("get", "file", "loud@master:/moby-dick").out == "CALL ME"
    assert [entry["path"] for entry in pachctl.json("list", "file", "older@master:/")] == ["/hamlet"]
    assert pachctl("get", "file", "added@master:/files/moby-dick").out == "call me"
    assert [one["parent"] for one in pachctl.json("list", "commit", "loud@master")] == [made["id"], None]


def test_edges_and_montage_are_the_same_bytes_and_trees_as_jobs_of_ours(kfp: str, tmp_path: Path, pachctl: Pachctl) -> None:
    make_example(pachctl, tmp_path, HERE)
    pachctl("wait", "commit", "montage@master")
    pachctl("export", "kubeflow", "edges", "montage", "-o", str(tmp_path / "exported.yaml"))
    run_locally(kfp, tmp_path, tmp_path / "exported.yaml")

    found = {repo: [pachctl.json("inspect", "commit", f"{repo}@{branch}")[0] for branch in ("master", "kubeflow")] for repo in ("edges", "montage")}
    for repo, (own, made) in found.items():
        assert own["id"] != made["id"]
        assert pachctl("diff", "file", f"{repo}@kubeflow:/", f"{repo}@master:/").out == ""
        hashes = [pachctl.json("inspect", "file", f"{repo}@{branch}:/")[0]["hash"] for branch in ("master", "kubeflow")]
        assert hashes[0] == hashes[1]
        for entry in pachctl.json("list", "file", f"{repo}@master:/"):
            data = [pachctl("get", "file", f"{repo}@{branch}:{entry['path']}").data for branch in ("master", "kubeflow")]
            assert data[0] == data[1]
    images = pachctl.json("inspect", "commit", "images@master")[0]["id"]
    assert found["edges"][1]["direct_provenance"] == [f"images@{images}"]
    assert found["montage"][1]["direct_provenance"] == [f"edges@{found['edges'][1]['id']}", f"images@{images}"]

    if kfp == PYTHONS[-1]:
        # Nothing changed, so that a second run makes nothing, whichever kfp has it run.
        run_locally(kfp, tmp_path, tmp_path / "exported.yaml")
        assert pachctl.json("inspect", "commit", "montage@kubeflow")[0]["id"] == found["montage"][1]["id"]
    assert main(["fsck"]) == 0


def test_edges_and_montage_on_a_volume_are_the_same_trees(tmp_path: Path, pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch) -> None:
    make_example(pachctl, tmp_path, HERE)
    pachctl("wait", "commit", "montage@master")
    pachctl("export", "kubeflow", "edges", "montage", "--transport", "volume", "-o", str(tmp_path / "exported.yaml"))
    monkeypatch.setenv("TEST_PODS_PYTHON", sys.executable)
    monkeypatch.setenv("TEST_PODS_FOLDERS", f"{os.environ['PACHYDERM_HOME']}:{tmp_path / 'tasks'}")

    def run(pod: Pod) -> None:
        places = {str(tmp_path / claim): {"bind": path} for claim, path in pod.claims}
        places |= {str(tmp_path / f"empty-{pod.name}"): {"bind": one["mountPath"]} for one in pod.settings.get("emptyDirMounts", ())}
        ended = Container([*pod.command, *pod.args], places, {"PACHYDERM_HOME": os.environ["PACHYDERM_HOME"], **pod.env})
        assert ended.wait() == {"StatusCode": 0}, b"".join(ended.logs(stream=True)).decode()

    (tmp_path / "tasks").mkdir()
    pipeline, platform = documents_of((tmp_path / "exported.yaml").read_text())
    player = Player(pipeline, platform, tmp_path / "tasks", run)
    player.play()
    assert player.claims == set()
    for repo in ("edges", "montage"):
        hashes = [pachctl.json("inspect", "file", f"{repo}@{branch}:/")[0]["hash"] for branch in ("master", "kubeflow")]
        assert hashes[0] == hashes[1]
    assert main(["fsck"]) == 0


@newest
def test_a_run_with_imported_commits_gives_the_same_trees(kfp: str, tmp_path: Path, pachctl: Pachctl) -> None:
    """Under kfp's local orchestrator, which takes files of this machine without a scheme."""
    pachctl("create", "repo", "images")
    pachctl.put("images@master:/a b/c", "1")
    id = pachctl.put("images@master:/d", "")
    copy = changed(EDGES, transform__cmd=["sh", "-c", 'cp -r /pfs/images/* /pfs/out/; test -z "$(find /pfs/images -type l)"'], parallelism_spec={"constant": 2})
    both = changed(MONTAGE, transform__stdin=["cp -r /pfs/images /pfs/edges /pfs/out/"])
    files = json.dumps(copy) + json.dumps(both)
    pachctl("create", "pipeline", "-f", "-", stdin=files.encode())
    pachctl("wait", "commit", "montage@master")
    published = tmp_path / "published"
    words = ["--transport", "importer", "--artifact-root", f"file://{published}", "-o", str(tmp_path / "p.yaml")]
    pachctl("export", "kubeflow", "edges", "montage", *words)
    run_locally(kfp, tmp_path, tmp_path / "p.yaml", f"images_uri={published}/default/images/{id}", folders=[published])
    for repo in ("edges", "montage"):
        hashes = [pachctl.json("inspect", "file", f"{repo}@{branch}:/")[0]["hash"] for branch in ("master", "kubeflow")]
        assert hashes[0] == hashes[1]


@newest
def test_a_run_reads_the_commit_that_it_is_given(kfp: str, tmp_path: Path, pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    older = pachctl.put("images@master:/a", "1")
    pachctl.put("images@master:/b", "2")
    spec = changed(EDGES, transform__cmd=["sh", "-c", "cp /pfs/images/* /pfs/out/"])
    pachctl("export", "kubeflow", "-f", "-", "-o", str(tmp_path / "p.yaml"), stdin=json.dumps(spec).encode())
    run_locally(kfp, tmp_path, tmp_path / "p.yaml", f"images_commit={older}")
    assert [entry["path"] for entry in pachctl.json("list", "file", "edges@kubeflow:/")] == ["/a"]
    assert pachctl.json("inspect", "commit", "edges@kubeflow")[0]["direct_provenance"] == [f"images@{older}"]


@newest
def test_a_failed_datum_fails_the_run_and_commits_nothing(kfp: str, tmp_path: Path, pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    pachctl.put("images@master:/a", "1")
    spec = changed(EDGES, transform__cmd=["sh", "-c", "echo broken >&2; exit 3"], datum_tries=1)
    pachctl("export", "kubeflow", "-f", "-", "-o", str(tmp_path / "p.yaml"), stdin=json.dumps(spec).encode())
    with pytest.raises(AssertionError, match=r"(?s)broken.*exit status 3.*FAILURE"):
        run_locally(kfp, tmp_path, tmp_path / "p.yaml")
    assert pachctl.fail("inspect", "repo", "edges") == "repo-not-found"
    assert ID not in (tmp_path / "p.yaml").read_text()


@newest
def test_output_goes_where_egress_says(kfp: str, tmp_path: Path, pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    for name in ("a", "b"):
        pachctl.put(f"images@master:/{name}", f"{name}\n")
    sent = tmp_path / "sent"
    sent.mkdir()
    rows = 'for file in /pfs/images/*; do mkdir -p /pfs/out/letters; cp "$file" "/pfs/out/letters/${file##*/}"; done'
    files = changed(EDGES, transform__cmd=["sh", "-c", rows], egress={"object_storage": {"url": f"file://{sent}/bucket"}})
    table = {"url": f"sqlite:///{sent}/rows.db", "file_format": {"type": "CSV"}}
    database = changed(files, pipeline={"name": "rows"}, egress={"sql_database": table})
    with closing(sqlite3.connect(sent / "rows.db")) as connection:
        connection.execute("create table letters (letter text)")
        connection.commit()
    pachctl("export", "kubeflow", "-f", "-", "-o", str(tmp_path / "p.yaml"), stdin=(json.dumps(files) + json.dumps(database)).encode())
    said = run_locally(kfp, tmp_path, tmp_path / "p.yaml", folders=[sent])
    assert {str(path.relative_to(sent)): path.read_text() for path in sent.glob("bucket/*/*")} == {"bucket/letters/a": "a\n", "bucket/letters/b": "b\n"}
    with closing(sqlite3.connect(sent / "rows.db")) as connection:
        assert sorted(connection.execute("select letter from letters")) == [("a",), ("b",)]
    assert said.count("sent 2 files, 4 bytes") == 2
    assert pachctl("diff", "file", "edges@kubeflow:/", "rows@kubeflow:/").out == ""


@newest
def test_a_graph_of_assets_runs_to_its_result(kfp: str, tmp_path: Path, pachctl: Pachctl) -> None:
    """The image that has the functions is this machine; `total` names the interpreter of an image of its own."""
    pachctl("create", "repo", "texts")
    pachctl.put("texts@master:/a", "to be or")
    read = pachctl.put("texts@master:/b", "not to be")
    code = ["--code-image", "code", "--code-python", sys.executable]
    pachctl("export", "assets", "tests.integration.exported_graph", "--job", "count_all", *code, "-o", str(tmp_path / "p.yaml"))
    text = (tmp_path / "p.yaml").read_text()
    assert "/usr/bin/python3" in text
    (tmp_path / "p.yaml").write_text(text.replace("/usr/bin/python3", sys.executable))
    run_locally(kfp, tmp_path, tmp_path / "p.yaml")
    words, total = (pachctl.json("inspect", "commit", f"{repo}@kubeflow")[0] for repo in ("words", "total"))
    assert words["direct_provenance"] == [f"texts@{read}"]
    assert total["direct_provenance"] == [f"words@{words['id']}"]
    (written,) = pachctl.json("list", "file", "total@kubeflow:/")
    assert pachctl("get", "file", f"total@kubeflow:{written['path']}").out == "2"


def test_the_guides_pipelines_compile(kfp: str, tmp_path: Path) -> None:
    """As somebody would who takes what the guide shows, in its order, beside the folder of components."""
    guide = (ROOT / "docs/guides/kubeflow.md").read_text()
    blocks = re.findall(r"<!-- not run: it needs kfp; [^\n]*-->\n```python\n(.*?)```", guide, re.DOTALL)
    blocks = [block for block in blocks if "recurring" not in block]
    assert len(blocks) == 2
    (tmp_path / "kubeflow").symlink_to(ROOT / "kubeflow")
    (tmp_path / "guide.py").write_text("\n".join(blocks))
    subprocess.run([kfp, "guide.py"], cwd=tmp_path, check=True)
    compiled = sorted(tmp_path.glob("*.yaml"))
    assert [path.name for path in compiled] == ["imported.yaml", "pipeline.yaml"]
    call(kfp, "check.py", str(tmp_path / "again.yml"), *map(str, compiled))
    settings = documents_of((tmp_path / "pipeline.yaml").read_text())[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert {one["secretAsEnv"][0]["secretName"] for one in settings.values()} == {"pachyderm-dagster-home"}


def test_the_api_is_asked_as_kfps_own_client_asks(kfp: str, tmp_path: Path) -> None:
    found = exported(EDGES)
    file = tmp_path / "pipeline.yaml"
    file.write_text(found.to_yaml())
    with api_server(ApiServer(advance=lambda run: finish(run) if run["state"] == "PENDING" else None)) as server:
        api = KubeflowApi(server.url)
        run, _ = start_run(api, RunRequest("ours", found.pipeline, found.platform, {"images_commit": "x"}))
        ours = [(method, path, body) for method, path, body in server.asked if method == "POST"]
        server.asked.clear()
        said = call(kfp, "contract.py", server.url, str(file), str(run["run_id"]))
        theirs = [(method, path, body) for method, path, body in server.asked if method == "POST"]
        server.asked.clear()
        end_run(api, next(id for id, one in server.runs.items() if one["display_name"] == "ours"))
        assert server.asked[-1][:2] == ("POST", f"/apis/v2beta1/runs/{run['run_id']}:terminate")
    _, (_, path, body) = ours
    (_, their_path, their_body), (_, ended, _) = theirs
    assert body is not None and their_body is not None
    assert (path, {**body, "display_name": "theirs"}) == (their_path, their_body)
    assert ended.endswith(":terminate")
    answers = json.loads(said.partition("answers ")[2].splitlines()[0])
    assert answers["ours"] == ["RUNNING", "ours", "2026-11-30T06:00:00+00:00"]


def test_what_is_sent_and_answered_is_of_the_published_schema(kfp: str, tmp_path: Path) -> None:
    found = exported(EDGES)
    documents: list[tuple[str, object]] = []
    with api_server(ApiServer(advance=lambda run: finish(run, failing="edges"))) as server:
        api = KubeflowApi(server.url, namespace="ann")
        run, _ = start_run(api, RunRequest("ours", found.pipeline, found.platform, {"images_commit": ID, "count": 1}, service_account="runner"))
        with pytest.raises(ExecutionError):
            follow_run(api, run["run_id"], wait=lambda _seconds: None, tell=lambda _line: None)
        bodies = {path.rpartition("/")[2]: body for method, path, body in server.asked if method == "POST"}
        documents += [("V2beta1Experiment", bodies["experiments"]), ("V2beta1Run", bodies["runs"])]
        documents += [("V2beta1Experiment", one) for one in server.experiments.values()] + [("V2beta1Run", one) for one in server.runs.values()]
    (tmp_path / "documents.json").write_text(json.dumps(documents))
    said = call(kfp, "schema.py", str(tmp_path / "documents.json"))
    states = set(json.loads(said.partition("states ")[2].splitlines()[0]))
    assert set(ENDED) < states
    assert states - set(ENDED) == {"RUNTIME_STATE_UNSPECIFIED", "PENDING", "RUNNING", "CANCELING", "PAUSED"}


def test_a_recurring_run_takes_an_export(kfp: str, tmp_path: Path) -> None:
    """The call that the guide shows, by kfp's own client."""
    guide = (ROOT / "docs/guides/kubeflow.md").read_text()
    (block,) = re.findall(r"```python\n([^`]*create_recurring_run[^`]*)```", guide)
    found = exported(EDGES, options=Options())
    (tmp_path / "pipeline.yaml").write_text(found.to_yaml())
    with api_server(ApiServer()) as server:
        (tmp_path / "guide.py").write_text(block.replace("http://ml-pipeline.kubeflow:8888", server.url))
        subprocess.run([kfp, "guide.py"], cwd=tmp_path, check=True)
        method, path, body = server.asked[-1]
    assert (method, path) == ("POST", "/apis/v2beta1/recurringruns")
    assert body is not None
    assert body["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert body["pipeline_spec"] == {"pipeline_spec": found.pipeline, "platform_spec": found.platform}
