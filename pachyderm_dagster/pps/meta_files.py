"""A meta commit as files: what each datum read, wrote, took and said. The paths are made when they are asked for (docs/design/0013)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.pfs.entries import DIRECTORY, ENTRIES, FileInfo, after_prefix
from pachyderm_dagster.pfs.file_trees import StoredFiles, in_memory
from pachyderm_dagster.pfs.globs import Glob, Level
from pachyderm_dagster.pfs.paths import ROOT, clean_path, key_of, path_of
from pachyderm_dagster.pfs.reading import entry_of, is_glob, not_a_file, only_match, rows_of_matches, some_matches
from pachyderm_dagster.pfs.searching import in_key_order
from pachyderm_dagster.pps.meta_rows import META, PFS, DatumFiles
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.rows import KEY
from pachyderm_dagster.storage.trees import TreeRoot, Trees

KINDS = (META, PFS)
# Below a datum: what the upper levels hold is made here, not found in the trees of datums.
_BELOW_DATUM = r"^/[^/]+/[^/]+/."
Wanted = Callable[[str], bool]


def _everything(_name: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class MetaFiles:
    """The files of a meta commit.

    Args:
        trees: of datums, and `root`, the commit's.
        files: makes the files of datums.
        label: names the commit in messages.
    """

    trees: Trees
    root: TreeRoot
    files: DatumFiles
    label: str

    def inspect(self, path: str) -> FileInfo:
        cleaned = clean_path(path)
        elements = _elements(cleaned)
        if len(elements) > 2:
            return self._below(elements).inspect(cleaned)
        if not elements or (len(elements) == 1 and elements[0] in KINDS):
            return FileInfo(cleaned, DIRECTORY, 0, self.root.id.hex())
        kind, rows = self._datum(elements)
        return FileInfo(cleaned, DIRECTORY, 0, _directories(rows, kind).column("hash")[0].as_py().hex())

    def list(self, path: str) -> Iterator[pa.Table]:
        cleaned = clean_path(path)
        elements = _elements(cleaned)
        if not elements:
            return iter([self._kinds(KINDS)])
        if len(elements) == 1:
            self.inspect(cleaned)
            return (_directories(table, elements[0]) for table in self.trees.read(self.root))
        return self._below(elements).list(cleaned)

    def glob(self, pattern: str) -> pa.Table:
        glob = Glob.parse(pattern)
        if glob.levels is None:
            return self._scan(_elements(glob.literal_prefix.rpartition("/")[0]), glob)
        if not glob.levels:
            return self._top()
        kinds = _matching(glob.levels[0], KINDS)
        if len(glob.levels) == 1:
            return self._kinds(kinds)
        third = glob.levels[min(2, len(glob.levels) - 1)]
        found = [ENTRIES.empty_table()]
        for kind in kinds:
            for rows in self._datums(glob.levels[1]):
                if len(glob.levels) == 2:
                    found.append(_directories(rows, kind))
                else:
                    found.append(self._tree(rows, (kind,), lambda name: bool(_matching(third, (name,)))).glob(pattern))
        return pa.concat_tables(found)

    def walk(self, path: str) -> pa.Table:
        cleaned = clean_path(path)
        elements = _elements(cleaned)
        if len(elements) > 2:
            return self._below(elements).walk(cleaned)
        self.inspect(cleaned)
        return self._scan(elements, None)

    def find_content(self, path: str) -> Content:
        cleaned = clean_path(only_match(self.glob(path), path, label=self.label) if is_glob(path) else path)
        elements = _elements(cleaned)
        if len(elements) <= 2:
            self.inspect(cleaned)
            raise not_a_file(cleaned, self.label)
        return self._below(elements).find_content(cleaned)

    def find_contents(self, paths: Iterable[str]) -> dict[str, Content]:
        cleaned = {clean_path(path) for path in paths}
        below = self._below_all(cleaned)
        found = below.trees.find(below.root, pa.array(map(key_of, cleaned), pa.string())).column(KEY).to_pylist()
        for path in sorted(cleaned - set(map(path_of, found))):
            self.find_content(path)  # says what is wrong with it
        return below.find_contents(cleaned)

    def rows_below(self, path: str) -> pa.Table:
        if is_glob(path):
            matches = some_matches(self.glob(path), path, label=self.label)
            below = self._below_all(matches.column("path").to_pylist())
            return rows_of_matches(below.trees, below.root, matches)
        cleaned = clean_path(path)
        elements = _elements(cleaned)
        if len(elements) >= 2:
            return self._below(elements).rows_below(cleaned)
        self.inspect(cleaned)
        kinds = tuple(elements) or KINDS
        tables = [self.files.rows(table, (kind,), _everything) for kind in kinds for table in self.trees.read(self.root)]
        return pa.concat_tables([self.files.empty, *tables])

    def _scan(self, elements: Sequence[str], glob: Glob | None) -> pa.Table:
        """Entries of everything (that matches) below the first two levels that `elements` name, and of these levels."""
        found = [] if elements else [self._top()]
        for kind in KINDS if not elements else [kind for kind in KINDS if kind == elements[0]]:
            found += [] if len(elements) > 1 else [self._kinds((kind,))]
            tables = iter([self._row(elements[1])]) if len(elements) > 1 else self.trees.read(self.root)
            wanted = (lambda name: name == elements[2]) if len(elements) > 2 else _everything
            for rows in tables:
                if len(rows):
                    whole = self._tree(rows, (kind,), wanted).walk(ROOT)
                    below = whole.filter(pc.match_substring_regex(whole.column("path"), _BELOW_DATUM))
                    found.append(in_key_order(pa.concat_tables([_directories(rows, kind), below])))
        table = pa.concat_tables([ENTRIES.empty_table(), *found])
        return table if glob is None else table.filter(glob.match_paths(table.column("path").combine_chunks()))

    def _below(self, elements: Sequence[str]) -> StoredFiles:
        """The files of one datum, of the part that a path leads to; of all parts when that is not there, for what is near it."""
        kind, rows = self._datum(elements)
        if len(elements) > 2:
            part = self._tree(rows, (kind,), lambda name: name == elements[2])
            if part.root.count:
                return part
        return self._tree(rows, (kind,), _everything)

    def _below_all(self, paths: Iterable[str]) -> StoredFiles:
        """The files of all datums that paths lead to, of the parts that they lead to."""
        named = [_elements(path) for path in paths]
        depth = min(map(len, named), default=0)
        kinds = KINDS if depth < 1 else [kind for kind in KINDS if any(kind == elements[0] for elements in named)]
        rows = self.trees.table(self.root) if depth < 2 else self.trees.find(self.root, pa.array({elements[1] for elements in named}, pa.string()))
        return self._tree(rows, kinds, _everything if depth < 3 else {elements[2] for elements in named}.__contains__)

    def _tree(self, rows: pa.Table, kinds: Sequence[str], wanted: Wanted) -> StoredFiles:
        return in_memory(self.files.file_trees, self.files.rows(rows, kinds, wanted), self.label)

    def _datum(self, elements: Sequence[str]) -> tuple[str, pa.Table]:
        if elements[0] not in KINDS:
            raise NotFoundError("file-not-found", f"file '/{'/'.join(elements)}' does not exist in {self.label}; it has '/{META}' and '/{PFS}'")
        if len(elements) == 1:
            return elements[0], self.trees.table(self.root)
        rows = self._row(elements[1])
        if not len(rows):
            raise NotFoundError(
                "file-not-found",
                f"'/{elements[0]}/{elements[1]}' does not exist in {self.label}; below '/{elements[0]}' are ids of datums, as `list datum` has them",
            )
        return elements[0], rows

    def _row(self, datum: str) -> pa.Table:
        return self.trees.find(self.root, pa.array([datum]))

    def _datums(self, level: Level) -> Iterator[pa.Table]:
        """Rows of the datums whose ids match, some at a time."""
        if level.texts is not None:
            rows = self.trees.find(self.root, pa.array(level.texts, pa.string()))
            yield from [rows] if len(rows) else []
            return
        for table in self.trees.read(self.root, level.prefix or None, after_prefix(level.prefix)):
            rows = table.filter(level.match(table.column(KEY).combine_chunks()))
            if len(rows):
                yield rows

    def _top(self) -> pa.Table:
        return entry_of(FileInfo(ROOT, DIRECTORY, 0, self.root.id.hex()))

    def _kinds(self, kinds: Iterable[str]) -> pa.Table:
        return pa.concat_tables([ENTRIES.empty_table(), *(entry_of(FileInfo(f"/{kind}", DIRECTORY, 0, self.root.id.hex())) for kind in kinds)])


def _elements(path: str) -> list[str]:
    return [element for element in path.split("/") if element]


def _matching(level: Level, names: Sequence[str]) -> list[str]:
    if level.texts is not None:
        return [name for name in names if name in level.texts]
    return [name for name, matched in zip(names, level.match(pa.array(names, pa.string())).to_pylist(), strict=True) if matched]


def _directories(rows: pa.Table, kind: str) -> pa.Table:
    """Entries of the directories of some datums: what is below them follows from their details."""
    paths = pc.binary_join_element_wise(f"/{kind}/", rows.column(KEY), "")
    hashes = pa.chunked_array([pc.struct_field(chunk, "hash") for chunk in rows.column("details").chunks])
    return pa.table([paths, pa.repeat(DIRECTORY, len(rows)), pa.repeat(0, len(rows)), hashes], schema=ENTRIES)
