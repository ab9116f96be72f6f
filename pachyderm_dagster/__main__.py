"""`pachctl`, `pachyderm-dagster` and `python -m pachyderm_dagster`: the command line as a process of its own."""

import gc
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from pachyderm_dagster.cli.main import main

OBJECTS_BEFORE_SEARCH = 300_000


class _WithoutExtras(MetaPathFinder):
    """Tells that there is no pandas and no cloudpickle.

    Arrow imports them, where they are installed, with the first array that it makes: up to half a second, for what no command uses.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname in ("pandas", "cloudpickle"):
            raise ModuleNotFoundError(f"no command needs {fullname}", name=fullname)


def _reserve_streams() -> None:
    """Opens standard streams that were closed, so that no file gets their number: what is read or written there fails, but for messages, which are lost."""
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, which is this one, since those below it are open.
            os.open(os.devnull, flags)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 -- until the process ends
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def run() -> int:
    """Runs the command line of this process; returns its exit status."""
    # Most commands end before there is garbage worth a search, and imports make so many objects that the usual searches take a tenth of a short one.
    gc.set_threshold(OBJECTS_BEFORE_SEARCH)
    sys.meta_path.insert(0, _WithoutExtras())
    _reserve_streams()
    try:
        return main()
    finally:
        # The interpreter's last search would take as long again, for memory that goes with the process.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(run())
