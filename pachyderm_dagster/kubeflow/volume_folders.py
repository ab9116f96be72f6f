"""Where things lie on the volume of a run, and what is there before user code."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.worker.starter import BUSYBOX, install_busybox

VOLUME = "/pach"
"""Where pods see it."""
SHELL = f"{VOLUME}/bin/{BUSYBOX}"


@dataclass(frozen=True, slots=True)
class VolumeFolders:
    """Of one pipeline.

    Attributes:
        programs: of all pipelines: a shell without libraries.
        data: what `stage_datums` fills.
        out: what the script of user code fills.
    """

    programs: Path
    data: Path
    out: Path

    @classmethod
    def of(cls, word: str, volume: str = VOLUME) -> Self:
        """Those of the pipeline that has this word in the names of its tasks."""
        own = Path(volume, "pipelines", word)
        return cls(Path(volume, "bin"), own / "data", own / "out")


def prepare_folders(folders: VolumeFolders) -> None:
    """Empties the folders of a pipeline, which an earlier try may have filled, and installs the shell. Any user may write output.

    Raises:
        ExecutionError: `starter-missing`, when this image has no static busybox.
    """
    busybox = shutil.which(BUSYBOX)
    if busybox is None:
        raise ExecutionError("starter-missing", "busybox is missing in this image; install busybox-static in it")
    for folder in (folders.data, folders.out):
        if folder.exists():
            shutil.rmtree(folder)
    folders.data.mkdir(parents=True)
    for folder in (folders.out, folders.out / "files", folders.out / "ended"):
        folder.mkdir()
        folder.chmod(0o777)
    folders.programs.mkdir(exist_ok=True)
    install_busybox(folders.programs, busybox)
