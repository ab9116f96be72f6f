"""What the datums of a job left, as rows of its trees, however many there are: some megabytes are in memory, the others on disk."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from pachyderm_dagster.pps.results import Done, meta_rows, output_rows
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS
from pachyderm_dagster.storage.sorted_rows import SortedRows

_AT_ONCE = 1000


class EndedDatums:
    """Datums that ended.

    Args:
        folder: where rows are that are not in memory.

    Attributes:
        meta: rows of the meta tree, of every datum, however it ended.
        output: rows of the output tree, of the files of the processed ones, each with the datum that wrote it.
    """

    def __init__(self, folder: Path) -> None:
        self.meta = SortedRows(DATUM_ROWS, folder)
        self.output = SortedRows(FILE_ROWS, folder)

    def add(self, done: Sequence[Done]) -> None:
        """Takes some; as objects they are in memory, so some thousand at most. Errors as `SortedRows.add`."""
        self.meta.add(meta_rows(done))
        self.output.add(output_rows(done))

    def add_all(self, done: Iterable[Done], job: str) -> int:
        """Takes any number; how many of them a job ran."""
        left, own = iter(done), 0
        while some := list(itertools.islice(left, _AT_ONCE)):
            self.add(some)
            own += sum(one.job == job for one in some)
        return own
