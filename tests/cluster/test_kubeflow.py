"""Exported pipelines and components in pods: each task with the arguments that Kubeflow would give it, artifacts in a folder of the node."""

import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import obstore
import pytest
from obstore.store import S3Store

from pachyderm_dagster.kubeflow.components import component_yaml
from pachyderm_dagster.kubeflow.export import export_pipelines
from pachyderm_dagster.kubeflow.options import Options, Transport
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.workspace import open_workspace
from tests.cli.pachctl import Pachctl
from tests.cluster.commands import run
from tests.cluster.homes import Home, make_home
from tests.cluster.images import BUSYBOX, COMMANDS, FUNCTIONS, NO_SHELL, NON_ROOT, PILLOW, WORKER
from tests.cluster.layers import ENVIRONMENT
from tests.cluster.pods import Namespace
from tests.integration.home import Home as DagsterHome
from tests.kubeflow.orchestrating import HERE, PYTHONS, make_example, run_locally
from tests.kubeflow.playing import Player, Pod
from tests.kubeflow.specs import documents_of, specs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
SECRET = "pachyderm-dagster-home"
DATA = BranchName(RepoName("default", "data"), "master")
SHOUT = "for file in /pfs/data/*; do tr a-z A-Z <$file >/pfs/out/${file##*/}; done; id -u >&2"
SHOUTING = {
    "pipeline": {"name": "shout"},
    "input": {"pfs": {"repo": "data", "glob": "/*"}},
    "transform": {"image": NON_ROOT, "cmd": ["sh", "-c", SHOUT]},
    "parallelism_spec": {"constant": 2},
    "resource_requests": {"cpu": 0.1, "memory": "32Mi"},
}
JOINED: dict[str, Any] = {
    "pipeline": {"name": "joined"},
    "input": {"cross": [{"pfs": {"repo": "data", "glob": "/"}}, {"pfs": {"repo": "shout", "glob": "/"}}]},
    "transform": {"image": BUSYBOX, "cmd": ["sh"], "stdin": ["cat /pfs/data/* /pfs/shout/* >/pfs/out/all"]},
}


@pytest.fixture
def home(namespace: Namespace, image: Callable[[str], str], servers: Mapping[str, str], kubeconfig: Path, tmp_path: Path) -> Home:
    for name in (BUSYBOX, COMMANDS, NON_ROOT, WORKER):
        image(name)
    database = f"kubeflow_{uuid.uuid4().hex}"
    run(["psql", servers["TEST_METADATA_URL"], "-c", f"create database {database}"])
    record = servers["TEST_METADATA_URL"].removesuffix("/postgres") + f"/{database}"
    made = make_home(namespace, kubeconfig, {**servers, "PACHYDERM_METADATA_URL": record}, tmp_path)
    opens = {name: value for name, value in made.environ.items() if name.startswith("AWS_") or name in ("PACHYDERM_METADATA_URL", "PACHYDERM_STORAGE_URL")}
    namespace.core.create_namespaced_secret(namespace.name, {"metadata": {"name": SECRET}, "stringData": opens})
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that pods of the node see at its path too."""
    with tempfile.TemporaryDirectory(prefix="kubeflow-", ignore_cleanup_errors=True) as found:
        Path(found).chmod(0o777)
        yield Path(found)


def runner(home: Home, folder: Path) -> Callable[[Pod], None]:
    """Runs the pods of a player on the cluster."""

    def start(pod: Pod) -> None:
        home.namespace.run_pod(f"{pod.name}-{uuid.uuid4().hex[:6]}", pod_spec(pod, folder), pod.settings.get("podMetadata"))

    return start


def bucket_reader(servers: Mapping[str, str]) -> Callable[[str, Path], None]:
    """Brings what lies below a URL of the S3 server into a folder, as the launcher does: all keys that begin with it."""

    def fetch(url: str, target: Path) -> None:
        parts = urlsplit(url)
        settings = {name.lower(): value for name, value in servers.items() if name.startswith("AWS_")}
        store = S3Store(parts.netloc, config=settings, client_options={"allow_http": True})  # type: ignore[arg-type]
        found = [one["path"] for batch in obstore.list(store) for one in batch if one["path"].startswith(parts.path.lstrip("/"))]
        assert found
        for path in found:
            file = target / path.removeprefix(parts.path.lstrip("/")).lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(obstore.get(store, path).bytes())

    return fetch


def pod_spec(pod: Pod, folder: Path) -> dict[str, Any]:
    """What Kubeflow makes of the settings of a task, as far as ours have them."""
    env: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in pod.env.items()]
    for secret in pod.settings.get("secretAsEnv", ()):
        for pair in secret["keyToEnv"]:
            key = {"name": secret["secretName"], "key": pair["secretKey"], "optional": secret["optional"]}
            env.append({"name": pair["envVar"], "valueFrom": {"secretKeyRef": key}})
    empty = pod.settings.get("emptyDirMounts", ())
    mounts = [{"name": "artifacts", "mountPath": str(folder)}, *({"name": one["volumeName"], "mountPath": one["mountPath"]} for one in empty)]
    container: dict[str, Any] = {
        "name": "main",
        "image": pod.image,
        "imagePullPolicy": "Never",
        "command": pod.command,
        "args": pod.args,
        "env": env,
        "volumeMounts": mounts,
    }
    volumes = [{"name": "artifacts", "hostPath": {"path": str(folder)}}, *({"name": one["volumeName"], "emptyDir": {}} for one in empty)]
    for claim, path in pod.claims:
        mounts.append({"name": claim, "mountPath": path})
        volumes.append({"name": claim, "hostPath": {"path": str(folder / claim), "type": "DirectoryOrCreate"}})
    if "securityContext" in pod.settings:
        container["securityContext"] = {name: int(value) for name, value in pod.settings["securityContext"].items()}
    return {"containers": [container], "volumes": volumes}


def test_an_exported_pipeline_gives_in_pods_what_jobs_in_pods_give(home: Home, folder: Path) -> None:
    home.put(a="one", b="two", c="three")
    home("create", "pipeline", "-f", "-", stdin=json.dumps(SHOUTING) + json.dumps(JOINED))
    home("wait", "commit", "joined@master")
    data = json.loads(home("inspect", "commit", "data@master", "-o", "json"))["id"]
    exported = export_pipelines(specs(SHOUTING, JOINED), Options(commits={DATA: data}, image=COMMANDS, home_secret=SECRET))
    Player(exported.pipeline, exported.platform, folder, runner(home, folder)).play()
    for repo in ("shout", "joined"):
        assert home("diff", "file", f"{repo}@kubeflow:/", f"{repo}@master:/") == ""
        hashes = [json.loads(home("inspect", "file", f"{repo}@{branch}:/", "-o", "json"))["hash"] for branch in ("kubeflow", "master")]
        assert hashes[0] == hashes[1]
    shout, joined = (json.loads(home("inspect", "commit", f"{repo}@kubeflow", "-o", "json")) for repo in ("shout", "joined"))
    assert shout["direct_provenance"] == [f"data@{data}"]
    assert joined["direct_provenance"] == [f"data@{data}", f"shout@{shout['id']}"]
    assert home("get", "file", "joined@kubeflow:/all") == "onetwothreeONETWOTHREE"


def test_on_a_volume_images_without_a_shell_or_root_give_what_jobs_in_pods_give(home: Home, folder: Path, image: Callable[[str], str]) -> None:
    shout = "import pathlib; [pathlib.Path('/pfs/out', one.name).write_text(one.read_text().upper()) for one in pathlib.Path('/pfs/data').iterdir()]"
    shouting = {**SHOUTING, "transform": {"image": image(NO_SHELL), "cmd": ["python3", "-c", shout]}}
    joined = {**JOINED, "transform": {**JOINED["transform"], "image": NON_ROOT}}
    home.put(a="one", b="two", c="three")
    home("create", "pipeline", "-f", "-", stdin=json.dumps(shouting) + json.dumps(joined))
    home("wait", "commit", "joined@master")
    data = json.loads(home("inspect", "commit", "data@master", "-o", "json"))["id"]
    options = Options(commits={DATA: data}, image=COMMANDS, home_secret=SECRET, transport=Transport.VOLUME)
    exported = export_pipelines(specs(shouting, joined), options)
    player = Player(exported.pipeline, exported.platform, folder, runner(home, folder))
    player.play()
    assert player.claims == set()
    for repo in ("shout", "joined"):
        hashes = [json.loads(home("inspect", "file", f"{repo}@{branch}:/", "-o", "json"))["hash"] for branch in ("kubeflow", "master")]
        assert hashes[0] == hashes[1]


def test_imported_commits_are_read_in_pods(home: Home, folder: Path, servers: Mapping[str, str]) -> None:
    home.put(a="one", b="two", c="three")
    data = json.loads(home("inspect", "commit", "data@master", "-o", "json"))["id"]
    words = ["--transport", "importer", "--artifact-root", f"{servers['TEST_STORAGE_S3_URL']}/{uuid.uuid4().hex}", "--image", COMMANDS]
    pipeline, platform = documents_of(home("export", "kubeflow", "-f", "-", *words, stdin=json.dumps(SHOUTING) + json.dumps(JOINED)))
    player = Player(pipeline, platform, folder, runner(home, folder), bucket_reader(servers))
    player.play()
    assert sorted(path.name for path in player.outputs["import-data"]["artifacts"]["artifact"][0].iterdir()) == ["a", "b", "c"]
    assert home("get", "file", "joined@kubeflow:/all") == "onetwothreeONETWOTHREE"
    assert json.loads(home("inspect", "commit", "shout@kubeflow", "-o", "json"))["direct_provenance"] == [f"data@{data}"]


def test_a_graph_of_assets_runs_in_pods_of_the_image_that_has_its_functions(home: Home, folder: Path, image: Callable[[str], str]) -> None:
    image(FUNCTIONS)
    home("create", "repo", "texts")
    home("put", "file", "texts@master:/a", "-f", "-", stdin="to be or")
    home("put", "file", "texts@master:/b", "-f", "-", stdin="not to be")
    python = f"{ENVIRONMENT}/bin/python"
    words = ["--job", "count_all", "--code-image", FUNCTIONS, "--code-python", python, "--image", COMMANDS]
    text = home("export", "assets", "tests.integration.exported_graph", *words)
    pipeline, platform = documents_of(text.replace("registry/total:1", FUNCTIONS).replace("/usr/bin/python3", python))
    Player(pipeline, platform, folder, runner(home, folder)).play()
    read = json.loads(home("inspect", "commit", "texts@master", "-o", "json"))["id"]
    made, total = (json.loads(home("inspect", "commit", f"{repo}@kubeflow", "-o", "json")) for repo in ("words", "total"))
    assert (made["direct_provenance"], total["direct_provenance"]) == ([f"texts@{read}"], [f"words@{made['id']}"])
    written = json.loads(home("list", "file", "total@kubeflow:/", "-o", "json"))["path"]
    assert home("get", "file", f"total@kubeflow:{written}") == "2"


def test_a_pod_whose_image_has_no_shell_names_the_way_out(home: Home, folder: Path, image: Callable[[str], str]) -> None:
    home.put(a="one")
    spec = {**SHOUTING, "transform": {"image": image(NO_SHELL), "cmd": ["python3", "-c", "pass"]}, "parallelism_spec": {"constant": 1}}
    exported = export_pipelines(specs(spec), Options(image=COMMANDS, home_secret=SECRET))
    with pytest.raises(AssertionError, match="Failed"):
        Player(exported.pipeline, exported.platform, folder, runner(home, folder)).play()
    (failed,) = [pod for pod in home.pods() if pod.status.phase == "Failed"]
    assert 'exec: "sh": executable file not found' in failed.status.container_statuses[0].state.terminated.message
    assert "--transport volume" in failed.metadata.annotations["pachyderm-dagster/needs"]


def made_of(ask: Callable[..., str], branch: str, target: Path) -> tuple[dict[str, bytes], str, dict[str, str]]:
    """What `ask`, a command line, tells of a branch's newest commit: the bytes of its files by their names, the hash of its tree, and by repo that of each tree
    that it was made from. Hashes are equal where files are, and the datums that wrote them. Pipelines' files are left out: each way has its own.
    """

    def hash_of(reference: str) -> str:
        return str(json.loads(ask("inspect", "file", f"{reference}:/", "-o", "json"))["hash"])

    ask("get", "file", "-r", f"{branch}:/", "-o", str(target))
    read = {one.partition("@")[0]: one for one in json.loads(ask("inspect", "commit", branch, "-o", "json"))["direct_provenance"]}
    trees = {repo: hash_of(commit) for repo, commit in read.items() if not repo.endswith(".spec")}
    return {path.name: path.read_bytes() for path in target.iterdir()}, hash_of(branch), trees


@pytest.mark.skipif(not PYTHONS[-1], reason="tests/cluster/run says where kfp is")
def test_edges_and_montage_are_the_same_in_dagster_on_the_cluster_and_in_kfp(home: Home, image: Callable[[str], str], pachctl: Pachctl, tmp_path: Path) -> None:
    make_example(pachctl, tmp_path, HERE)
    with closing(open_workspace(os.environ)) as workspace:
        dagster = DagsterHome(workspace, dict(os.environ), dg.DagsterInstance.ephemeral())
        dagster.run_all()
        assert [len(dagster.materializations("default", repo)) for repo in ("edges", "montage")] == [1, 1]
    pachctl("export", "kubeflow", "edges", "montage", "-o", str(tmp_path / "exported.yaml"))
    run_locally(PYTHONS[-1], tmp_path, tmp_path / "exported.yaml")

    make_example(home, tmp_path, {"image: pillow": f"image: {image(PILLOW)}"})
    home("wait", "commit", "montage@master")

    def here(*words: str) -> str:
        return pachctl(*words).out

    for repo, names, inputs in (("edges", {"china.png", "flower.png"}, {"images"}), ("montage", {"montage.png"}, {"edges", "images"})):
        in_dagster = made_of(here, f"{repo}@master", tmp_path / f"{repo} in Dagster")
        assert (set(in_dagster[0]), set(in_dagster[2])) == (names, inputs)
        assert made_of(home, f"{repo}@master", tmp_path / f"{repo} on the cluster") == in_dagster
        assert made_of(here, f"{repo}@kubeflow", tmp_path / f"{repo} in kfp") == in_dagster


def test_each_component_does_its_part_in_a_pod(home: Home, folder: Path) -> None:
    home.put(a="one")
    home.put(b="two")
    data = json.loads(home("inspect", "commit", "data@master", "-o", "json"))["id"]

    def play(name: str, **parameters: str) -> dict[str, Any]:
        pipeline, platform = documents_of(component_yaml(name, image=COMMANDS, home_secret=SECRET))
        player = Player(pipeline, platform, folder, runner(home, folder))
        if name == "pfs_put":
            pipeline["root"]["dag"]["tasks"]["put"]["inputs"]["artifacts"]["data"] = {
                "taskOutputArtifact": {"producerTask": "get", "outputArtifactKey": "data"}
            }
            player.outputs["get"] = got
        player.play(**parameters)
        found: dict[str, Any] = player.outputs[name.removeprefix("pfs_")]
        return found

    head = play("pfs_head", repo="data")
    assert head["parameters"] == {"commit": data}
    got = play("pfs_get", repo="data", commit=data)
    assert got["parameters"] == {"commit": data, "made_from": f"default/data@master={data}", "files": 2}
    put = play("pfs_put", repo="copy", made_from=got["parameters"]["made_from"])
    made = json.loads(home("inspect", "commit", "copy@master", "-o", "json"))
    assert (put["parameters"]["commit"], made["direct_provenance"]) == (made["id"], [f"data@{data}"])
    assert home("diff", "file", "copy@master:/", "data@master:/") == ""
    diff = play("pfs_diff", repo="data", new=data)["parameters"]
    assert (diff["is_different"], diff["added"], diff["changed"], diff["deleted"]) == (True, 1, 0, 0)
