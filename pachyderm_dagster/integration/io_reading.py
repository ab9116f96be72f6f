"""What files of a commit become in Python: the type that is asked for decides."""

import importlib
import io
import json
import pickle
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pachyderm_dagster.client.filesystem import PfsFileSystem
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.io_folders import Checkouts, StoredFolder
from pachyderm_dagster.integration.io_formats import STORED_TYPES, library_name

TABLE_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".arrow": "arrow", ".feather": "feather", ".jsonl": "json", ".ndjson": "json"}
_SHOWN = 5


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
