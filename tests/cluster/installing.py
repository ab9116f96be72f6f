"""The programs of a cluster: Debian's, and Kubernetes' own built from its Go modules into the user's cache."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.errors import ClusterError

MODULE = Path(__file__).parent / "kubernetes"
DNS_MODULE = Path(__file__).parent / "dns"
KWOK_MODULE = Path(__file__).parent / "kwok"
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "mmdebstrap": "mmdebstrap",
    "busybox": "busybox-static",
}
"""What has to be there, with the Debian package that it is in."""


@dataclass(frozen=True, slots=True)
class Built:
    """Programs that are built from one Go module, each from its package; `source` is a module of ours that requires it."""

    name: str
    module: str
    packages: Mapping[str, str]
    minutes: int
    source: Path = MODULE

    def folder(self, cache: Path) -> Path:
        """Where they are kept, one folder a version."""
        return cache / f"{self.name}-v{required_version((self.source / 'go.mod').read_text(), self.module)}"


KUBERNETES = Built(
    "kubernetes",
    "k8s.io/kubernetes",
    {name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")},
    minutes=5,
)
# Debian's is older than what the API server needs to answer from its cache: lists and watches fail there when many things change at once.
ETCD = Built("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}, minutes=1)
# With the plugins that are asked for here alone, so it is a program of ours.
DNS = Built("coredns", "github.com/coredns/coredns", {"coredns": "."}, minutes=3, source=DNS_MODULE)
ALL = (KUBERNETES, ETCD, DNS)
# Nodes whose pods are no processes: only a benchmark has them.
KWOK = Built("kwok", "sigs.k8s.io/kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, minutes=3, source=KWOK_MODULE)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where what is built once is kept, as the services' suite does."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pachyderm-dagster"


def required_version(go_mod: str, module: str) -> str:
    """The version of a module that a go.mod requires in a line of its own."""
    found = re.search(rf"^require {re.escape(module)} v(\S+)$", go_mod, re.MULTILINE)
    if found is None:
        raise ClusterError(f"a go.mod does not require {module} in a line of its own")
    return found[1]


def link_flags(version: str) -> str:
    """What Kubernetes' own build tells its programs; without, they say that they are v0.0.0."""
    major, minor, _ = version.split(".", 2)
    settings = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in settings.items())


def find_program(name: str, cache: Path) -> Path:
    """Where one of the cluster's programs is; install() made sure that it is there."""
    for built in ALL:
        if name in built.packages:
            return built.folder(cache) / name
    # Debian's own folders are not always on the path of who is not logged in.
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        raise ClusterError(f"the program '{name}' is missing; on Debian: apt-get install {PACKAGES.get(name, name)}")
    # By one name only: a daemon of another command line would be started anew.
    return Path(found).resolve()


def install(cache: Path) -> None:
    """Installs Debian's packages and builds the rest where they are missing."""
    missing = [package for name, package in PACKAGES.items() if not _is_there(name)]
    if missing:
        _install_packages(missing)
    for built in ALL:
        install_built(built, cache)


def install_built(built: Built, cache: Path) -> Path:
    """The folder of programs that are built where they are missing."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "installing.lock").open("w") as lock:
        # Another suite that builds the same is waited for.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.folder(cache).exists():
            _build(built, built.folder(cache))
    return built.folder(cache)


def _is_there(name: str) -> bool:
    return Path(name).exists() if "/" in name else shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin") is not None


def _install_packages(packages: list[str]) -> None:
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(f"programs of the test cluster are missing; on Debian, as root: apt-get install {' '.join(packages)}")
    print(f"Installing {' '.join(packages)}", flush=True)  # noqa: T201
    # RUNLEVEL keeps packages from starting their servers.
    environ = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], environ=environ)
    run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages], environ=environ)


def _build(built: Built, target: Path) -> None:
    if shutil.which("go") is None:
        raise ClusterError(f"the {built.name} of the tests is built from source and 'go' is missing; install Go 1.24 or newer")
    print(f"Building {target.name} ({built.minutes} min on two cores the first time)", flush=True)  # noqa: T201
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = link_flags(target.name.partition("-v")[2])
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as folder:
        made = Path(folder, target.name)
        made.mkdir()
        for name, package in built.packages.items():
            command: list[str | Path] = ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o", made / name, package]
            if subprocess.run(command, cwd=built.source, env={**os.environ, "CGO_ENABLED": "0"}, check=False).returncode:
                raise ClusterError(f"{name} could not be built; what 'go' said is above")
        made.rename(target)
