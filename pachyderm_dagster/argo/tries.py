"""How often each pod of a run was forgotten after it had ended: what tells a pod that is to be gone on with from one that is to be made anew."""

from collections.abc import Iterable
from pathlib import Path

from pachyderm_dagster.argo.kept_files import write_whole


class Tries:
    """Those of one run.

    Args:
        folder: a file for each pod that was forgotten.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def number(self, pod: str) -> int:
        """The number of the try that a pod is in, from 0 on."""
        try:
            return int((self._folder / pod).read_text())
        except FileNotFoundError:
            return 0

    def forget(self, pods: Iterable[str]) -> None:
        """Has pods that ended be made anew. It comes before their nodes are forgotten, so that no pod is taken for that of a node that is to begin anew."""
        for pod in pods:
            self._folder.mkdir(exist_ok=True)
            write_whole(self._folder / pod, str(self.number(pod) + 1).encode())
