"""Gets a pod of a workflow ready, before its other containers: `python -m pachyderm_dagster.argo.cluster.begin STORE_URL FOLDER`.

It takes what the pod is given from its area in the store, and puts a static shell and the script that runs programs into the volume.
"""

import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from pachyderm_dagster.argo.artifact_files import set_mode, unpack, untar
from pachyderm_dagster.argo.cluster.area import Given, Order, PodArea, get_file
from pachyderm_dagster.argo.cluster.layout import BIN, IN, OUTPUTS, PACH, RUN, SCRIPT_NAME
from pachyderm_dagster.errors import ExecutionError, PachydermError
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.starter import BUSYBOX, install_program, is_static

_PROGRAMS = Path(__file__).parent / "in_pod"


def prepare(volume: Path, area: PodArea, order: Order, busybox: str | None) -> None:
    """Fills the volume of a pod. A second time does no harm.

    Raises:
        ExecutionError: `starter-missing`, when there is no busybox, or none that runs anywhere; `artifact-not-unpacked`.
        NotFoundError: `object-not-found`.
    """
    for name, mode in ((BIN, 0o755), (IN, 0o755), (RUN, 0o777)):
        (volume / name).mkdir(parents=True, exist_ok=True)
        (volume / name).chmod(mode)
    _install(volume / BIN, busybox)
    lines = [f"{'parameter' if one.artifact is None else 'artifact'} {number} {one.path}\n" for number, one in enumerate(order.wanted)]
    if order.wanted or order.keeps_result:
        (volume / BIN / OUTPUTS).write_text("".join(lines))
    if order.script is not None:
        script = volume / IN / SCRIPT_NAME
        script.write_text(order.script)
        script.chmod(0o755)
    for given in order.given:
        _get(volume, area.store, given)


def _install(folder: Path, busybox: str | None) -> None:
    if busybox is None or not is_static(Path(busybox).read_bytes()):
        raise ExecutionError("starter-missing", f"{busybox or 'busybox'} is no program that runs in any image; install busybox-static in this image")
    install_program(Path(busybox), folder / BUSYBOX)
    for program in _PROGRAMS.iterdir():
        install_program(program, folder / program.name)


def _get(volume: Path, store: ObjectStore, given: Given) -> None:
    target = Path(given.target) if given.target else volume / IN / given.name
    with tempfile.TemporaryDirectory(dir=volume) as scratch:
        fetched = Path(scratch, "kept")
        get_file(store, given.file, fetched)
        target.parent.mkdir(parents=True, exist_ok=True)
        if given.raw:
            shutil.copyfile(fetched, target)
        elif given.folder:
            shutil.rmtree(target, ignore_errors=True)
            with tarfile.open(fetched) as archive:
                untar(archive, target)
        else:
            unpack(fetched, given.artifact, target)
    set_mode(str(target), given.artifact)


def main(store_url: str, folder: str) -> int:
    """The init container."""
    os.umask(0o022)
    try:
        area = PodArea(open_store(store_url), folder)
        prepare(Path(PACH), area, area.order(), shutil.which("busybox"))
    except (PachydermError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  what the pod's status shows
        return os.EX_UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
