"""`pachctl`, `pachyderm-dagster` and `python -m pachyderm_dagster`: the command line as a process of its own."""

import gc
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from pachyderm_dagster.cli.main import main

OBJECTS_BEFORE_SEARCH = 100_000


class _WithoutPandas(MetaPathFinder):
    """Tells that there is no pandas.

    Arrow imports it, where it is installed, with the first array that it makes: up to half a second, for what no command uses.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("no command needs pandas", name=fullname)


def run() -> int:
    """Runs the command line of this process; returns its exit status."""
    # Most commands end before there is garbage worth a search, and imports make so many objects that the usual searches take a tenth of a short one.
    gc.set_threshold(OBJECTS_BEFORE_SEARCH)
    sys.meta_path.insert(0, _WithoutPandas())
    return main()


if __name__ == "__main__":
    sys.exit(run())
