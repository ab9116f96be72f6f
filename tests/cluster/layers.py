"""The layers of the tests' images, built once and kept in the user's cache under a key of what they are made from."""

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.archives import Layer, Member, folder_members, read_layer, write_layer
from tests.cluster.commands import run
from tests.cluster.installing import find_program
from tests.cluster.locked import needed, read_lock

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "static"
SERVERS = REPOSITORY / "tests" / "services" / "servers.sh"

SUITE = "bookworm"
PYTHON = "3.11"
"""That suite's."""
NEWEST_GLIBC = 36
"""That suite's, the number behind '2.'."""
ENVIRONMENT = "/opt/venv"
SITE_PACKAGES = f"{ENVIRONMENT}/lib/python{PYTHON}/site-packages"
CODE = "/opt/code"
WORKER_NEEDS = ("blake3", "cloudpickle", "etcd3gw", "msgspec", "numpy", "obstore", "pyarrow", "pyfastcdc", "xxhash")
"""What the worker imports, by the lock's names."""
COMMAND_NEEDS = (*WORKER_NEEDS, "alembic", "click", "croniter", "dagster", "pathspec", "psycopg", "psycopg-binary", "pyyaml", "sqlalchemy")
"""What the command line imports, and code that makes assets."""
PROGRAM = b"#!/opt/venv/bin/python\nimport sys\n\nfrom pachyderm_dagster.__main__ import run\n\nsys.exit(run())\n"
SHELLS = ("bash", "dash", "rbash", "sh")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
"""Paths that no program needs."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Builds layers into a cache; what changes too often to be kept goes into the folder `scratch`."""

    cache: Path
    scratch: Path

    def program(self, name: str) -> Layer:
        """A program of ours in Go at the root, which needs no library."""
        source = PROGRAMS / name / "main.go"
        return self._kept(name, [source.read_text()], lambda folder: [Member(name, _built(name, folder), 0o755)])

    def busybox(self) -> Layer:
        """A shell and what it calls, with no library."""
        busybox = find_program("busybox", self.cache)
        return self._kept("busybox", [hashlib.sha256(busybox.read_bytes()).hexdigest()], lambda _: _busybox_members(busybox))

    def static_shell(self) -> Layer:
        """That shell alone, for what is Debian otherwise."""
        busybox = find_program("busybox", self.cache)
        return self._kept("static-shell", [hashlib.sha256(busybox.read_bytes()).hexdigest()], lambda _: [Member("usr/bin/busybox", busybox, 0o755)])

    def debian(self, *packages: str) -> Layer:
        """Debian with Python and more packages, as mmdebstrap makes it: not the same bytes each time, so that it is made once."""
        flags = ["--variant=apt", f"--include={','.join(('python3', 'ca-certificates', *packages))}", *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT)]
        target = self._path("debian", [*flags, SUITE])
        if not target.exists():
            print(f"Making Debian {SUITE} with {' and '.join(('Python', *packages))} (a minute or more the first time)", flush=True)  # noqa: T201
            beside = target.with_suffix(".new")
            run([find_program("mmdebstrap", self.cache), *flags, "--format=tar", SUITE, beside])
            beside.rename(target)
        return read_layer(target)

    def no_shells(self) -> Layer:
        """Takes the shells of lower layers away."""
        return self._kept("no-shells", ["usr/bin", *SHELLS], lambda _: [Member(f"usr/bin/.wh.{name}") for name in SHELLS])

    def environment(self, names: Sequence[str] = WORKER_NEEDS) -> Layer:
        """A virtual environment with what the lock says that these packages need; those of workers unless told otherwise."""
        requirements = "\n".join(needed(read_lock((REPOSITORY / "requirements.lock").read_text()), names))
        return self._kept("environment", [requirements, PYTHON, platform.machine()], lambda folder: _environment_members(requirements, folder))

    def code(self) -> Layer:
        """The project's own code as it is now: small, so that it is made anew each time."""
        return write_layer(self.scratch / "code.layer", folder_members(REPOSITORY / "pachyderm_dagster", f"{CODE}/pachyderm_dagster"))

    def command_line(self) -> Layer:
        """`pachyderm-dagster`."""
        return self._kept("command-line", [PROGRAM.decode()], lambda _: [Member(f"{ENVIRONMENT}/bin/pachyderm-dagster", PROGRAM, 0o755)])

    def files(self, name: str, *members: Member) -> Layer:
        """Some files."""
        return write_layer(self.scratch / f"{name}.layer", members)

    def folder(self, folder: Path, target: str) -> Layer:
        """A folder of the machine."""
        return write_layer(self.scratch / f"{folder.name}.layer", folder_members(folder, target))

    def s3_server(self) -> Layer:
        """That of `find_s3_server`."""
        return self.files("versitygw", Member("versitygw", find_s3_server(), 0o755))

    def _kept(self, name: str, made_from: Sequence[str], members: Callable[[Path], Iterable[Member]]) -> Layer:
        """The layer that was made from that; its members are asked for, with a folder for a while, when it is not in the cache."""
        target = self._path(name, made_from)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=self._folder()) as folder:
                write_layer(Path(folder, "layer"), members(Path(folder))).file.rename(target)
        return read_layer(target)

    def _path(self, name: str, made_from: Sequence[str]) -> Path:
        return self._folder() / f"{name}-{hashlib.sha256(repr(list(made_from)).encode()).hexdigest()[:16]}.layer"

    def _folder(self) -> Path:
        folder = self.cache / "images"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _built(name: str, folder: Path) -> Path:
    run(["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", folder / name, f"./{name}"], folder=PROGRAMS, environ={**os.environ, "CGO_ENABLED": "0"})
    return folder / name


def _busybox_members(busybox: Path) -> Iterable[Member]:
    yield Member("bin/busybox", busybox, 0o755)
    for name in run([busybox, "--list"]).split():
        if name != "busybox":
            yield Member(f"bin/{name}", link="busybox")
    yield Member("tmp", mode=0o1777, is_folder=True)
    yield Member("etc/passwd", b"root:x:0:0::/:/bin/sh\nworker:x:1000:1000::/tmp:/bin/sh\n")
    yield Member("etc/group", b"root:x:0:\nworker:x:1000:\n")


def _environment_members(requirements: str, folder: Path) -> Iterable[Member]:
    print("Installing what workers need for their image", flush=True)  # noqa: T201
    wanted, packages = folder / "requirements", folder / "packages"
    wanted.write_text(requirements)
    pip: list[str | Path] = [REPOSITORY / ".venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--no-compile"]
    # For the image's Python, whichever this is.
    wheels = ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}", *(f"--platform={one}" for one in _platforms(platform.machine()))]
    run([*pip, *wheels, "--target", packages, "-r", wanted])
    _compile(packages)
    yield from folder_members(packages, SITE_PACKAGES, leave_out=("bin",))
    yield Member(f"{SITE_PACKAGES}/code.pth", f"{CODE}\n".encode())
    yield Member(f"{ENVIRONMENT}/pyvenv.cfg", f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n".encode())
    yield Member(f"{ENVIRONMENT}/bin/python", link=f"/usr/bin/python{PYTHON}")
    yield Member(f"{ENVIRONMENT}/bin/python3", link="python")


def _platforms(machine: str) -> list[str]:
    return [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, 4, -1)] + [f"manylinux2014_{machine}", f"linux_{machine}"]


def _compile(packages: Path) -> None:
    """Compiles where this Python is the image's, because pods may not keep what they compile; by digest, because all files of an image are of the same time."""
    if sys.version_info[:2] == tuple(int(part) for part in PYTHON.split(".")):
        run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", "-s", packages, "-p", SITE_PACKAGES, packages])


def find_s3_server() -> Path:
    """The S3 server of tests/services/servers.sh, which builds it when it is missing."""
    return Path(run(["bash", "-euo", "pipefail", "-c", '. "$0" && find_s3_server >&2 && echo "$s3_server"', SERVERS]).strip())
