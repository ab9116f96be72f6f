"""What stands for images on one machine: which program runs without a command, and which programs come first."""

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pachyderm_dagster
from pachyderm_dagster.errors import InvalidError

FOLDER = "/.images"
"""Where pods see the programs that images have and the machine has under another name, or not at all."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN = "pachyderm-dagster"
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


def search_path(reference: str) -> str:
    """`PATH` of a container."""
    image = find_image(reference)
    return ":".join([*(f"{FOLDER}/{name}" for name in (image.programs if image else ())), SYSTEM_PATH])


def folders_of(reference: str) -> tuple[tuple[str, str, bool], ...]:
    """What pods of an image see of this machine beside its programs, and where: of this package's image the package."""
    package = str(Path(pachyderm_dagster.__file__).parent)
    return ((package, f"{FOLDER}/{_OWN}/lib/pachyderm_dagster", False),) if find_image(reference) is IMAGES["pachyderm-dagster-server"] else ()


def make_programs(folder: Path) -> None:
    """Fills the folder that pods see as `FOLDER`."""
    python = os.path.realpath(sys.executable)
    busybox = shutil.which("busybox")
    _link(folder / "python", {"python": python, "python3": python})
    _link(folder / "busybox", {"sh": busybox, "ash": busybox} if busybox else {})
    (folder / "argosay").mkdir(parents=True, exist_ok=True)
    _write_program(folder / "argosay" / "argosay", _ARGOSAY)
    (folder / _OWN / "lib" / "pachyderm_dagster").mkdir(parents=True, exist_ok=True)
    own = f'#!/bin/sh\nPYTHONPATH={FOLDER}/{_OWN}/lib exec {shlex.quote(sys.executable)} -P -m pachyderm_dagster "$@"\n'
    _write_program(folder / _OWN / "pachyderm-dagster", own)


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
