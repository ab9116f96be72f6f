"""A cluster's life: up, what it does, and down."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.cluster.certificates import certificates, make_certificates
from tests.cluster.commands import run, wait_until
from tests.cluster.configuration import cni_configuration, containerd_configuration, dns_configuration, kubeconfig, kubelet_configuration, proxy_configuration
from tests.cluster.errors import ClusterError
from tests.cluster.groups import daemon_files, end_group, freeze, make_groups
from tests.cluster.installing import find_program
from tests.cluster.node import inside, make_node, remove_node
from tests.cluster.plan import Plan, problem_with
from tests.cluster.processes import find_running, last_log_lines, start
from tests.cluster.programs import Program, cluster_programs

READY_SECONDS = 120
NODE_READY = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"


class Kept(msgspec.Struct, frozen=True):
    """What a cluster's folder says of it."""

    number: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster by its plan. All of it is in the plan's folder and in the machine, so that another process may go on with it."""

    plan: Plan
    cache: Path

    def up(self, *, load: Callable[["Cluster"], None]) -> None:
        """Starts what does not run and waits until the node is ready; `load` gives it the images that no pod starts without."""
        plan = self.plan
        if os.getuid() != 0:
            raise ClusterError("the test cluster needs root: it makes network namespaces and runs containers; to use another cluster, set TEST_KUBECONFIG")
        _refuse(problem_with(plan))
        _keep(plan)
        make_certificates(plan)
        self._write_configuration()
        make_groups(plan.name)
        make_node(plan)
        for program in self.programs():
            command = inside(plan, program.command) if program.on_node else program.command
            start(program.name, command, folder=plan.folder, logs=plan.logs, group_files=daemon_files(plan.name))
            if program.name == "containerd":
                self._wait("containerd", "answers", self._containerd_answers)
                load(self)
            if program.name == "kube-apiserver":
                self._wait("kube-apiserver", "is ready", lambda: self._asked("get", "--raw", "/readyz") == "ok")
        self._wait("kubelet", "says that its node is ready", lambda: self._asked("get", "nodes", "-o", NODE_READY) == "True")
        self._wait("kube-controller-manager", "makes service accounts", lambda: bool(self._asked("get", "serviceaccount", "default", "-o", "name")))

    def down(self) -> None:
        """Ends and removes everything that `up` and pods made, also when only pieces of it are left."""
        _refuse_other_files(self.plan.folder)
        end_group(self.plan.name)
        remove_node(self.plan)
        if self.plan.folder.exists():
            shutil.rmtree(self.plan.folder)

    def status(self) -> Iterator[tuple[str, bool]]:
        """Each program with whether it runs, and then whether the node is ready."""
        for program in self.programs():
            yield program.name, find_running(program.name, folder=self.plan.folder) is not None
        yield "node ready", self._asked("get", "nodes", "-o", NODE_READY) == "True"

    def programs(self) -> list[Program]:
        return cluster_programs(self.plan, lambda name: find_program(name, self.cache))

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """What kubectl printed."""
        return run([find_program("kubectl", self.cache), f"--kubeconfig={self.plan.kubeconfig}", *arguments], input=input)

    def load(self, archive: Path) -> None:
        """Gives the node an image from a file."""
        if not archive.is_file():
            raise ClusterError(f"there is no image at {archive}; name a file that 'docker save' or 'python -m tests.cluster images' wrote")
        run([*self.ctr(), "images", "import", "--snapshotter", _snapshotter(self.plan.folder), archive])

    def images(self) -> list[str]:
        """The names of the images that the node has."""
        return [name for name in run([*self.ctr(), "images", "ls", "-q"]).split() if not name.startswith("sha256:")]

    def freeze(self, pod: str) -> None:
        """Stops all processes of a pod, by its uid, as on a machine that is cut off."""
        freeze(self.plan.name, pod, is_frozen=True)

    def thaw(self, pod: str) -> None:
        """Lets them go on."""
        freeze(self.plan.name, pod, is_frozen=False)

    def contents(self) -> set[str]:
        """The digests of what the node has of images: layers among others."""
        return {line.strip().removeprefix("sha256:") for line in run([*self.ctr(), "content", "ls", "-q"]).split()}

    def ctr(self) -> list[str | Path]:
        """The beginning of a command line that asks the node's containerd."""
        if find_running("containerd", folder=self.plan.folder) is None:
            raise ClusterError(f"the cluster in {self.plan.folder} does not run; start it with 'python -m tests.cluster up'")
        return [find_program("ctr", self.cache), f"--address={self.plan.containerd_socket}", "--namespace=k8s.io"]

    def _containerd_answers(self) -> bool:
        try:
            run([*self.ctr(), "version"])
        except ClusterError:
            return False
        return True

    def _asked(self, *arguments: str) -> str:
        """What kubectl printed, or nothing when it failed."""
        try:
            return self.kubectl("--request-timeout=5s", *arguments)
        except ClusterError:
            return ""

    def _wait(self, name: str, does: str, condition: Callable[[], bool]) -> None:
        runs = True

        def settled() -> bool:
            nonlocal runs
            runs = find_running(name, folder=self.plan.folder) is not None
            return not runs or condition()

        if not wait_until(settled, seconds=READY_SECONDS) or not runs:
            found = f"{READY_SECONDS} s went by before {name} {does}" if runs else f"{name} ended before it {does}"
            raise ClusterError(f"{found}; its last lines in {self.plan.logs}/{name}.log:\n{last_log_lines(name, logs=self.plan.logs)}")

    def _write_configuration(self) -> None:
        plan = self.plan
        for folder in (plan.logs, plan.configuration("cni")):
            folder.mkdir(parents=True, exist_ok=True)
        _write(plan.configuration("containerd.toml"), containerd_configuration(plan, snapshotter=_snapshotter(plan.folder)))
        _write(plan.configuration("cni") / "pods.conflist", cni_configuration(plan))
        _write(plan.configuration("kubelet.json"), kubelet_configuration(plan))
        _write(plan.configuration("Corefile"), dns_configuration(plan))
        _write(plan.configuration("kube-proxy.json"), proxy_configuration(plan))
        authority = plan.certificate("ca").read_bytes()
        for certificate in certificates(plan):
            shown, key = plan.certificate(certificate.name).read_bytes(), plan.key(certificate.name).read_bytes()
            _write(plan.kubeconfig_of(certificate.name), kubeconfig(plan, authority=authority, certificate=shown, key=key))


def find_number(folder: Path) -> int | None:
    """The number of the cluster in a folder; None when there is none."""
    try:
        return msgspec.json.decode((folder / "cluster.json").read_bytes(), type=Kept).number
    except FileNotFoundError:
        return None


def _keep(plan: Plan) -> None:
    """Says in the folder what it is, first of all, so that `down` finds the rest."""
    number = find_number(plan.folder)
    if number is None:
        _refuse_other_files(plan.folder)
        plan.folder.mkdir(parents=True, exist_ok=True)
        (plan.folder / "cluster.json").write_bytes(msgspec.json.encode(Kept(plan.number)))
    elif number != plan.number:
        raise ClusterError(f"the cluster in {plan.folder} has the number {number}, not {plan.number}; leave --number out, or choose another folder: --folder")


def _write(path: Path, text: str) -> None:
    """Writes a file for its owner only, unless it says the same: kube-proxy ends when its file is written."""
    if not path.exists() or path.read_text() != text:
        path.touch(mode=0o600)
        path.write_text(text)


def _refuse_other_files(folder: Path) -> None:
    if find_number(folder) is None and folder.exists() and any(folder.iterdir()):
        raise ClusterError(f"the folder {folder} has other files in it than a cluster's; choose another one: --folder")


def _snapshotter(folder: Path) -> str:
    """How containerd keeps layers: where the folder is an overlay itself, no other can lie on it, and they are copied."""
    return "native" if run(["stat", "--file-system", "--format=%T", folder]).strip() == "overlayfs" else "overlayfs"


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise ClusterError(problem)
