"""Homes whose jobs run in pods, used by the command line."""

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pachyderm_dagster.integration.instance import open_instance
from pachyderm_dagster.settings import load_settings
from tests.cluster.images import BUSYBOX, WORKER
from tests.cluster.pods import Namespace

SECONDS = 240
STORE_SECRET = "store"


class Home:
    """A home whose executor is the cluster, and what `pachctl` does with it."""

    def __init__(self, environ: Mapping[str, str], namespace: Namespace, folder: Path) -> None:
        self.environ, self.namespace, self._folder = environ, namespace, folder

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pachyderm_dagster", *words], env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def __call__(self, *words: str, stdin: str = "", seconds: float = SECONDS) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pachyderm_dagster", *words], env=self.environ, input=stdin, capture_output=True, text=True, timeout=seconds
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def put(self, **files: str) -> None:
        """One commit to `data`."""
        self._folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (self._folder / name).write_text(text)
        self("put", "file", "-r", "data@master:/", "-f", str(self._folder))

    def create(self, name: str = "copy", image: str = BUSYBOX, cmd: Sequence[str] = ("sh", "-c", "cp /pfs/data/* /pfs/out/"), **fields: Any) -> None:
        """`glob` is of the input; with `update` the pipeline is there and does all again; other fields are those of its file."""
        transform = {"image": image, "cmd": cmd} | fields.pop("transform", {})
        words = ["update", "pipeline", "--reprocess"] if fields.pop("update", False) else ["create", "pipeline"]
        glob = fields.pop("glob", "/*")
        spec = {"pipeline": {"name": name}, "input": {"pfs": {"repo": "data", "glob": glob}}, "transform": transform, **fields}
        self(*words, "-f", "-", stdin=json.dumps(spec))

    def job(self, name: str = "copy") -> Any:
        """The newest job of a pipeline."""
        return json.loads(self("list", "job", "-p", name, "-o", "json").splitlines()[0])

    def run(self, name: str = "copy") -> Any:
        """Runs what is due of a pipeline and returns its job as it ended."""
        subprocess.run([sys.executable, "-m", "pachyderm_dagster", "wait", "commit", f"{name}@master"], env=self.environ, capture_output=True, timeout=SECONDS)
        return self.job(name)

    def log(self, run_id: str) -> list[str]:
        """What the log of a run in Dagster says."""
        with open_instance(load_settings(self.environ)) as instance:
            return [entry.user_message for entry in instance.all_logs(run_id)]

    def read(self, path: str, name: str = "copy") -> str:
        return self("get", "file", f"{name}@master:{path}")

    def read_all(self, name: str = "copy") -> dict[str, str]:
        """The files of a pipeline's output, by their names."""
        folder = self._folder.with_name("out")
        self("get", "file", "-r", f"{name}@master:/", "-o", str(folder))
        return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}

    def pods(self) -> list[Any]:
        return list(self.namespace.core.list_namespaced_pod(self.namespace.name).items)

    def wait_for(self, holds: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """What it returns once that is true."""
        pause = threading.Event()
        for _ in range(round(seconds * 2)):
            if found := holds():
                return found
            pause.wait(0.5)
        raise AssertionError(f"it did not come about in {seconds} s; pods: {[(pod.metadata.name, pod.status.phase) for pod in self.pods()]}")

    def is_clean(self) -> bool:
        jobs = self.namespace.batch.list_namespaced_job(self.namespace.name).items
        secrets = [one for one in self.namespace.core.list_namespaced_secret(self.namespace.name).items if one.metadata.name != STORE_SECRET]
        return not jobs and not self.pods() and not secrets and not self.deployments()

    def deployments(self) -> list[Any]:
        return list(self.namespace.apps.list_namespaced_deployment(self.namespace.name).items)


def make_home(namespace: Namespace, kubeconfig: Path, servers: Mapping[str, str], folder: Path) -> Home:
    """A home with a repo `data`. `servers` say where the store is, and where record and coordination, when those are servers too."""
    store = {name: value for name, value in servers.items() if name.startswith("AWS_")}
    namespace.core.create_namespaced_secret(namespace.name, {"metadata": {"name": STORE_SECRET}, "stringData": store})
    environ = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        **{name: value for name, value in servers.items() if name.startswith(("AWS_", "PACHYDERM_"))},
        "HOME": str(folder),
        "KUBECONFIG": str(kubeconfig),
        "PACHYDERM_HOME": str(folder / "home"),
        "PACHYDERM_STORAGE_URL": f"{servers['TEST_STORAGE_S3_URL']}/{uuid.uuid4().hex}",
        "PACHYDERM_EXECUTOR": "kubernetes",
        "PACHYDERM_KUBERNETES_NAMESPACE": namespace.name,
        "PACHYDERM_KUBERNETES_WORKER_IMAGE": WORKER,
        "PACHYDERM_KUBERNETES_STORAGE_SECRET": STORE_SECRET,
    }
    made = Home(environ, namespace, folder / "files")
    made("create", "repo", "data")
    return made


def works(pod: Any) -> bool:
    return bool(pod.status.container_statuses) and all(one.state.running for one in pod.status.container_statuses)
