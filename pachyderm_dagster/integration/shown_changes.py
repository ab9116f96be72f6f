"""What a commit changed, for people: numbers that plot, and a few lines of Markdown with its message, its parent and the difference."""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.shown_files import Metadata, ShownFiles
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.storage.trees import TreeDiff, TreeRoot, Trees

COMPARED_ROWS = 50_000
"""What takes a comparison of more files is told by a command."""
LISTED_CHANGES = 20
MESSAGE_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference of a commit against its parent.

    Attributes:
        difference: None when too much would have to be read for it.
        numbers: of files added, changed and deleted; None when they are not known.
        is_first: nothing was there before.
    """

    difference: TreeDiff | None
    numbers: tuple[int, int, int] | None
    is_first: bool

    @staticmethod
    def between(trees: Trees, before: TreeRoot | None, after: TreeRoot) -> "Changes":
        """Compares two trees, if no more than `COMPARED_ROWS` rows have to be read for that. Of a first commit all is new, and nothing is read.

        Args:
            before: None when that has been forgotten.
        """
        if before is None:
            return Changes(None, None, is_first=False)
        if not before.count:
            return Changes(None, (after.count, 0, 0), is_first=True)
        found = trees.find_diff(before, after, most_rows=COMPARED_ROWS)
        if found is None:
            return Changes(None, None, is_first=False)
        old, new = found.old_rows.column("key"), found.new_rows.column("key")
        changed = pc.sum(pc.is_in(new, value_set=old)).as_py() or 0
        return Changes(found, (len(new) - changed, changed, len(old) - changed), is_first=False)

    @property
    def changed_rows(self) -> pa.Table | None:
        """The files that are new or other than before; None when that is all of them, or not known."""
        return None if self.difference is None else self.difference.new_rows

    def metadata(self) -> Metadata:
        """The numbers."""
        names = labels.FILES_ADDED, labels.FILES_CHANGED, labels.FILES_DELETED
        return {name: dg.MetadataValue.int(number) for name, number in zip(names, self.numbers or (), strict=False)}

    def describe(self, commit: Commit, files: ShownFiles) -> dg.MetadataValue:
        """What the commit is, in Markdown.

        Args:
            files: those of the commit.
        """
        parent = "the first of its branch" if commit.parent is None else f"on top of `{commit.repo}@{commit.parent}`"
        parts = [f"**`{commit}`**, {parent}", *_quoted(commit.description), self._summary(commit)]
        lines = list(self._lines(files))
        if lines:
            parts.append("\n".join(["```diff", *lines[:LISTED_CHANGES], "```"]))
        total = sum(self.numbers or ())
        if total > LISTED_CHANGES:
            parts.append(f"and {total - LISTED_CHANGES:,} more: `pachctl diff file {commit}`")
        return dg.MetadataValue.md("\n\n".join(parts))

    def _summary(self, commit: Commit) -> str:
        if self.numbers is None:
            return f"`pachctl diff file {commit}` tells what is other than before"
        added, changed, deleted = self.numbers
        return f"{added:,} files added, {changed:,} changed, {deleted:,} deleted"

    def _lines(self, files: ShownFiles) -> Iterator[str]:
        """The first files that differ, in order, one more than are shown at most."""
        if self.difference is None:
            yield from (f"+ {path_of(key)}  {size:,} bytes" for key, size in _sizes(files.rows if self.is_first else files.rows.slice(0, 0)).items())
            return
        # What is among the first of both sides together is among the first of its own.
        old, new = _sizes(self.difference.old_rows), _sizes(self.difference.new_rows)
        for key in sorted(old.keys() | new.keys())[: LISTED_CHANGES + 1]:
            if key not in old:
                yield f"+ {path_of(key)}  {new[key]:,} bytes"
            elif key not in new:
                yield f"- {path_of(key)}  {old[key]:,} bytes"
            else:
                yield f"! {path_of(key)}  {old[key]:,} → {new[key]:,} bytes"


def _sizes(rows: pa.Table) -> dict[str, int]:
    return dict(zip(rows.column("key").to_pylist(), rows.column("size").to_pylist(), strict=True))


def _quoted(message: str) -> list[str]:
    """A commit's message as a quotation; none when there is none."""
    shown = message if len(message) <= MESSAGE_CHARACTERS else message[: MESSAGE_CHARACTERS - 1] + "…"
    return ["\n".join(f"> {line}" for line in shown.splitlines())] if shown.strip() else []
