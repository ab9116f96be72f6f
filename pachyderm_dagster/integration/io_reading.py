"""What files of a commit become in Python: the type that is asked for decides."""

import atexit
import importlib
import io
import json
import os
import pickle
import shutil
import tempfile
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pachyderm_dagster.client.client import commit_reference
from pachyderm_dagster.client.filesystem import PfsFileSystem
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.io_formats import STORED_TYPES, library_name
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.entries import find_entry
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.paths import ROOT, path_of
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.export import export_files
from pachyderm_dagster.storage.rows import contents_of

TABLE_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".arrow": "arrow", ".feather": "feather", ".jsonl": "json", ".ndjson": "json"}
_SHOWN = 5


@dataclass(slots=True)
class Checkouts:
    """Folders of this machine that hold directories of commits: until `close`, or as long as the process lives."""

    _folder: str | None = None
    _made: dict[tuple[str, str], Path] = field(default_factory=dict)

    def get(self, folder: "StoredFolder") -> Path:
        """The local copy of a directory; of one directory always the same, so nobody should change it."""
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="pachyderm-dagster-")
            atexit.register(_remove, self._folder, os.getpid())
        key = str(folder.commit), folder.path
        if key not in self._made:
            target = Path(self._folder, str(len(self._made)))
            target.mkdir()
            folder.export(target)
            self._made[key] = target
        return self._made[key]

    def close(self) -> None:
        """Removes them."""
        if self._folder is not None:
            _remove(self._folder, os.getpid())
        self._folder, self._made = None, {}


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:  # not in a forked child
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class StoredFolder:
    """A directory of a commit, `/` for all of it, with the files below it.

    Args:
        home: where the commit is, for readers that open it themselves.
    """

    pfs: Pfs
    home: str
    commit: Commit
    path: str
    contents: Mapping[str, Content]
    """By their paths within the directory, `a/b.csv`."""
    rows: pa.Table

    @staticmethod
    def open(pfs: Pfs, home: str, commit: Commit, path: str) -> "StoredFolder":
        """Raises NotFoundError `file-not-found`, when the commit has no such directory; StateError `commit-forgotten`."""
        rows = pfs.files(commit_reference(commit)).rows_below(path)
        start = 1 if path == ROOT else len(path) + 1
        names = [path_of(key)[start:] for key in rows.column("key").to_pylist()]
        return StoredFolder(pfs, home, commit, path, dict(zip(names, contents_of(rows), strict=True)), rows)

    @property
    def size_bytes(self) -> int:
        """The sum of the files."""
        return sum(content.size for content in self.contents.values())

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return self.pfs.reader.read(self.contents[name])

    def read_all(self) -> dict[str, bytes]:
        """The bytes of every file, by its path within the directory."""
        return dict(zip(self.contents, self.pfs.reader.read_many(list(self.contents.values())), strict=True))

    def export(self, target: Path) -> None:
        """Writes the files below a folder of this machine."""
        export_files(self.pfs.store, self.rows, [str(target / name) for name in self.contents])

    def urls(self, names: Sequence[str]) -> list[str]:
        """What files are called in the file system `pfs`."""
        inside = "" if self.path == ROOT else self.path
        return [f"{self.commit.repo.project}/{self.commit.repo.name}@{self.commit.id}{inside}/{name}" for name in names]

    def __str__(self) -> str:
        return f"{self.commit}:{self.path}"


@dataclass(frozen=True, slots=True)
class Reading:
    """Turns a directory into the type that is asked for.

    Args:
        asked: the annotation of the input; Any or None for whatever was written.
    """

    folder: StoredFolder
    asked: Any
    checkouts: Checkouts
    allow_pickle: bool

    def value(self) -> object:
        """The value.

        Raises:
            InvalidError: `input-type`, when the files cannot be read as that; `pickle-refused`.
        """
        asked = _without_none(self.asked)
        suffixes = {Path(name).suffix for name in self.folder.contents}
        if asked is Path:
            return self.checkouts.get(self.folder)
        if _is_dict_of(asked, bytes):
            return self.folder.read_all()
        if suffixes == {".pkl"} and asked is not bytes:
            return self._unpickled()
        if asked in (None, Any):
            return self._as_written(suffixes)
        for kind in asked.__mro__ if isinstance(asked, type) else ():
            reader = _READERS.get(library_name(kind))
            if reader is not None:
                return reader(self)
        return self._json()

    def table_files(self) -> tuple[str, list[str]]:
        """The format of tabular files, and their names."""
        formats = {TABLE_FORMATS.get(Path(name).suffix.lower()) for name in self.folder.contents}
        if len(formats) != 1 or None in formats:
            raise self._refused(f"a table is read from files that all are {', '.join(TABLE_FORMATS)}")
        return str(formats.pop()), list(self.folder.contents)

    def dataset(self) -> ds.Dataset:
        """The tabular files as one dataset, of which nothing is read yet."""
        format, names = self.table_files()
        return ds.dataset(self.folder.urls(names), format=format, filesystem=PfsFileSystem(self.folder.home))

    def table(self) -> pa.Table:
        """The tabular files as one table."""
        return self.dataset().to_table()

    def polars(self) -> Any:
        """The tabular files as a DataFrame of polars."""
        polars = self._library("polars")
        format, names = self.table_files()
        if format != "parquet":
            return polars.from_arrow(self.table())
        # By polars itself, which knows types that others do not.
        return polars.concat([polars.read_parquet(io.BytesIO(self.folder.read(name))) for name in names])

    def lazy(self) -> Any:
        """The tabular files as a LazyFrame of polars, over a local copy: nothing more is read than what is collected of it."""
        polars = self._library("polars")
        format, names = self.table_files()
        if format not in ("parquet", "csv"):
            return self.polars().lazy()
        here = self.checkouts.get(self.folder)
        scan = polars.scan_parquet if format == "parquet" else polars.scan_csv
        return scan([here / name for name in names])

    def array(self) -> np.ndarray:
        """The one file, as numpy wrote it."""
        return np.load(io.BytesIO(self.single(".npy")), allow_pickle=False)  # type: ignore[no-any-return]

    def single(self, *suffixes: str) -> bytes:
        """The bytes of the one file, which has one of these suffixes when any are given."""
        names = list(self.folder.contents)
        if len(names) != 1 or (suffixes and Path(names[0]).suffix not in suffixes):
            raise self._refused(f"one {' or '.join(suffixes)} file is needed for that" if suffixes else "one file is needed for that")
        return self.folder.read(names[0])

    def text(self) -> str:
        """The one file as UTF-8."""
        try:
            return self.single().decode()
        except UnicodeDecodeError as error:
            raise self._refused(f"it is not UTF-8 ({error.reason} at byte {error.start})") from error

    def _json(self) -> object:
        try:
            return json.loads(self.single(".json"))
        except ValueError as error:
            if isinstance(error, InvalidError):
                raise
            raise self._refused(f"it is no JSON: {error}") from error

    def _unpickled(self) -> object:
        if not self.allow_pickle:
            raise InvalidError(
                "pickle-refused",
                f"{self.folder} is a pickle, and reading it runs code of whoever wrote it; if you trust them, set `allow_pickle: true` on the IO manager",
            )
        return pickle.loads(self.single(".pkl"))

    def _as_written(self, suffixes: set[str]) -> object:
        """The type that would have written these files; many files, and those of unknown kinds, are a local folder."""
        if len(self.folder.contents) != 1:
            return self.checkouts.get(self.folder)
        match suffixes.pop():
            case ".json":
                return self._json()
            case ".txt":
                return self.text()
            case ".bin":
                return self.single()
            case ".npy":
                return self.array()
            case ".parquet":
                return self._table_as_written()
            case _:
                return self.checkouts.get(self.folder)

    def _table_as_written(self) -> Any:
        file = pq.ParquetFile(io.BytesIO(self.single()))
        if b"pandas" in (file.schema_arrow.metadata or {}):
            self._library("pandas")
            return file.read().to_pandas()
        return self.polars() if (file.metadata.created_by or "").startswith("Polars") else file.read()

    def _library(self, name: str) -> Any:
        """A library of users. Who asks for a class of it has it; without an annotation it may be missing."""
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise self._refused(f"{name} is not installed ({error})") from error

    def _refused(self, why: str) -> InvalidError:
        names = list(self.folder.contents)
        found = ", ".join(map(repr, names[:_SHOWN])) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        asked = self.asked.__name__ if isinstance(self.asked, type) else self.asked
        return InvalidError(
            "input-type",
            f"{self.folder} cannot be read as {asked}: {why}; it holds {found or 'no file'}; annotate the input with `Path` for a local folder or "
            f"`dict[str, bytes]` for the files as they are; known are {STORED_TYPES}, and pyarrow.dataset.Dataset",
        )


def find_hash(pfs: Pfs, commit: Commit, folder: str) -> str | None:
    """The hash of what a directory of a commit holds; None when there is no such directory. The root is always there."""
    found = find_entry(pfs.trees, pfs.root(commit_reference(commit)), folder)
    return None if found is None else found.hash


def read_partitions(folders: Mapping[str, StoredFolder], asked: Any, checkouts: Checkouts, *, allow_pickle: bool) -> dict[str, object]:
    """The values of several partitions by their keys; `asked` is `dict[str, X]` for values of type X."""
    arguments = get_args(_without_none(asked))
    one = arguments[1] if get_origin(_without_none(asked)) is dict and len(arguments) == 2 else None
    return {key: Reading(folder, one, checkouts, allow_pickle).value() for key, folder in folders.items()}


def _without_none(asked: Any) -> Any:
    if get_origin(asked) in (Union, types.UnionType):
        others = [one for one in get_args(asked) if one is not type(None)]
        return others[0] if len(others) == 1 else Any
    return asked


def _is_dict_of(asked: Any, kind: type) -> bool:
    return get_origin(asked) is dict and get_args(asked) == (str, kind)


_READERS: Mapping[str, Callable[[Reading], object]] = {
    "builtins.bytes": Reading.single,
    "builtins.str": Reading.text,
    "pandas.DataFrame": lambda reading: reading.table().to_pandas(),
    "polars.DataFrame": Reading.polars,
    "polars.LazyFrame": Reading.lazy,
    "pyarrow.Table": Reading.table,
    "pyarrow.Dataset": Reading.dataset,
    "numpy.ndarray": Reading.array,
}
