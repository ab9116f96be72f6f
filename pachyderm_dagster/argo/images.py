"""What stands for images on one machine: which program runs without a command, and which programs come first."""

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pachyderm_dagster
from pachyderm_dagster.errors import InvalidError

FOLDER = "/.images"
"""Where pods see the programs that images have and the machine has under another name, or not at all."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME_OF_PODS = f"{FOLDER}/home"
"""Where a pod with our `kubectl` sees the objects of the home."""
_NO_OBJECTS = ".none"
_OWN = "pachyderm-dagster"
_KUBECTL = "kubectl"
_SELDOM_HERE = ("httpd", "nc", "wget", "unzip")
"""What busybox has, and a machine may not have otherwise."""
_ARGOSAY = """#!/bin/sh
# What workflows ask of the image argosay: print, copy, wait, end.
case "${1:-echo}" in
  echo) if [ -n "$3" ]; then mkdir -p "$(dirname "$3")" && echo "$2" > "$3"; else echo "$2"; fi ;;
  cat) shift; cat "$@" ;;
  cp) cp "$2" "$3" ;;
  sleep) sleep "$2" ;;
  exit) exit "${2:-0}" ;;
  sh) shift; sh -c "$@" ;;
  assert_contains) grep -F -q -e "$3" "$2" || { echo "$2 does not contain $3" >&2; exit 1; } ;;
  *) echo "argosay: unknown command $1" >&2; exit 64 ;;
esac
"""
# Where the pod is to change nothing, there is that file in place of the objects.
_KUBECTL_OF_PODS = f"""#!/bin/sh
if [ -e {HOME_OF_PODS}/argo/objects/{_NO_OBJECTS} ]; then
  echo 'error: the workflow was submitted without a network, so that its pods change nothing outside; submit it with --network [network-not-allowed]' >&2
  exit 1
fi
export PACHYDERM_HOME={HOME_OF_PODS} PACHYDERM_OBJECTS=home
"""


@dataclass(frozen=True, slots=True)
class Image:
    """Attributes: entrypoint: what is run without a command. programs: names of folders below `FOLDER` that are searched first."""

    entrypoint: tuple[str, ...]
    programs: tuple[str, ...] = ()


IMAGES: Mapping[str, Image] = {
    "busybox": Image(("sh",), ("busybox",)),
    "alpine": Image(("sh",), ("busybox",)),
    "bash": Image(("bash",)),
    "debian": Image(("bash",)),
    "ubuntu": Image(("bash",)),
    "python": Image(("python3",), ("python",)),
    "node": Image(("node",)),
    "argosay": Image(("argosay",), ("argosay",)),
    **dict.fromkeys(("kubectl", "k8s", "k8s-kubectl"), Image(("kubectl",))),
    "pachyderm-dagster-server": Image(("pachyderm-dagster",), ("pachyderm-dagster",)),
}


def find_image(reference: str) -> Image | None:
    """What stands for an image, by the last part of its name: `docker.io/library/python:3.12-alpine` is `python`."""
    return IMAGES.get(reference.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0])


def program_of(reference: str, command: tuple[str, ...], args: tuple[str, ...]) -> tuple[str, ...]:
    """The program with its arguments.

    Raises:
        InvalidError: `image-unknown`.
    """
    if command:
        return (*command, *args)
    image = find_image(reference)
    if image is None:
        message = f"there is no 'command', and what the image {reference!r} runs is not known on this machine; write 'command'"
        raise InvalidError("image-unknown", message)
    return (*image.entrypoint, *args)


@dataclass(frozen=True, slots=True)
class PodImages:
    """What the pods of an executor see of images.

    Attributes:
        folder: what `make_programs` filled; pods see it as `FOLDER`.
        has_kubectl: ours comes before that of the machine, in images that may have one.
        objects: those of the home, which that may change; None for none.
    """

    folder: Path
    has_kubectl: bool = False
    objects: Path | None = None

    def search_path(self, reference: str) -> str:
        """`PATH` of a container."""
        image = find_image(reference)
        first = (*(image.programs if image else ()), *([_KUBECTL] if self._gives_kubectl(reference) else []))
        return ":".join([*(f"{FOLDER}/{name}" for name in first), SYSTEM_PATH])

    def folders(self, reference: str) -> Iterator[tuple[str, str, bool]]:
        """What a container sees of this machine beside its programs and where, and whether it may write there: for programs of this package the package."""
        yield str(self.folder), FOLDER, False
        if self._gives_kubectl(reference) or find_image(reference) is IMAGES["pachyderm-dagster-server"]:
            yield str(Path(pachyderm_dagster.__file__).parent), f"{FOLDER}/{_OWN}/lib/pachyderm_dagster", False
        if self._gives_kubectl(reference) and self.objects is not None:
            yield str(self.objects), f"{HOME_OF_PODS}/argo/objects", True

    def _gives_kubectl(self, reference: str) -> bool:
        image = find_image(reference)
        return self.has_kubectl and (image is None or image.entrypoint == (_KUBECTL,))


def make_programs(folder: Path) -> None:
    """Fills the folder that pods see as `FOLDER`."""
    python = os.path.realpath(sys.executable)
    busybox = shutil.which("busybox")
    _link(folder / "python", {"python": python, "python3": python})
    applets = ("sh", "ash", *(name for name in _SELDOM_HERE if shutil.which(name, path=SYSTEM_PATH) is None))
    _link(folder / "busybox", dict.fromkeys(applets, busybox) if busybox else {})
    (folder / "argosay").mkdir(parents=True, exist_ok=True)
    _write_program(folder / "argosay" / "argosay", _ARGOSAY)
    (folder / _OWN / "lib" / "pachyderm_dagster").mkdir(parents=True, exist_ok=True)
    _write_program(folder / _OWN / "pachyderm-dagster", f"#!/bin/sh\n{_own_program('pachyderm_dagster')}")
    (folder / _KUBECTL).mkdir(exist_ok=True)
    _write_program(folder / _KUBECTL / "kubectl", _KUBECTL_OF_PODS + _own_program("pachyderm_dagster argo kubectl"))
    (folder / "home" / "argo" / "objects").mkdir(parents=True, exist_ok=True)
    (folder / "home" / "argo" / "objects" / _NO_OBJECTS).touch()


def _own_program(module: str) -> str:
    return f'PYTHONPATH={FOLDER}/{_OWN}/lib exec {shlex.quote(sys.executable)} -P -m {module} "$@"\n'


def _write_program(script: Path, text: str) -> None:
    if script.exists():
        return
    # Others make it at the same time, and run it.
    descriptor, new = tempfile.mkstemp(dir=script.parent, prefix=f".{script.name}")
    with open(descriptor, "w") as file:
        file.write(text)
    os.chmod(new, 0o755)
    os.replace(new, script)


def _link(folder: Path, programs: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in programs.items():
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(target)
