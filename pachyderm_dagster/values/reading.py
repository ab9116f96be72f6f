"""What files become in Python: the type that is asked for decides."""

import importlib
import io
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args, get_origin

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.values.kinds import STORED_TYPES, is_folder_of_bytes, library_name, without_none

TABLE_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".arrow": "arrow", ".feather": "feather", ".jsonl": "json", ".ndjson": "json"}
_SHOWN = 5


class Folder(Protocol):
    """Files that are read as one value: those of a directory of a commit, or of a local one. As text it is what a message calls it."""

    @property
    def names(self) -> Sequence[str]:
        """The paths of the files in it."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        ...

    def read_all(self) -> dict[str, bytes]:
        """The bytes of every file, by its name."""
        ...

    def local(self) -> Path:
        """A folder of this machine that holds the files."""
        ...

    def dataset(self, names: Sequence[str], format: str) -> ds.Dataset:
        """Files of one tabular format as one dataset, of which nothing is read yet."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """Turns a directory into the type that is asked for.

    Args:
        asked: the annotation of the input; Any or None for whatever was written.
    """

    folder: Folder
    asked: Any
    allow_pickle: bool

    def value(self) -> object:
        """The value.

        Raises:
            InvalidError: `input-type`, when the files cannot be read as that; `pickle-refused`.
        """
        asked = without_none(self.asked)
        suffixes = {Path(name).suffix for name in self.folder.names}
        if asked is Path:
            return self.folder.local()
        if is_folder_of_bytes(asked):
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
        formats = {TABLE_FORMATS.get(Path(name).suffix.lower()) for name in self.folder.names}
        if len(formats) != 1 or None in formats:
            raise self._refused(f"a table is read from files that all are {', '.join(TABLE_FORMATS)}")
        return str(formats.pop()), list(self.folder.names)

    def dataset(self) -> ds.Dataset:
        """The tabular files as one dataset, of which nothing is read yet."""
        format, names = self.table_files()
        return self.folder.dataset(names, format)

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
        here = self.folder.local()
        scan = polars.scan_parquet if format == "parquet" else polars.scan_csv
        return scan([here / name for name in names])

    def array(self) -> np.ndarray:
        """The one file, as numpy wrote it."""
        return np.load(io.BytesIO(self.single(".npy")), allow_pickle=False)  # type: ignore[no-any-return]

    def single(self, *suffixes: str) -> bytes:
        """The bytes of the one file, which has one of these suffixes when any are given."""
        names = self.folder.names
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
                f"{self.folder} is a pickle, and reading it runs code of whoever wrote it; if you trust them, set "
                "`allow_pickle: true` on the IO manager, or ask for `bytes` and load them",
            )
        return pickle.loads(self.single(".pkl"))

    def _as_written(self, suffixes: set[str]) -> object:
        """The type that would have written these files; many files, and those of unknown kinds, are a local folder."""
        if len(self.folder.names) != 1:
            return self.folder.local()
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
                return self.folder.local()

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
        names = self.folder.names
        found = ", ".join(map(repr, names[:_SHOWN])) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        asked = self.asked.__name__ if isinstance(self.asked, type) else self.asked
        return InvalidError(
            "input-type",
            f"{self.folder} cannot be read as {asked}: {why}; it holds {found or 'no file'}; annotate the input with `Path` for a local folder or "
            f"`dict[str, bytes]` for the files as they are; known are {STORED_TYPES}, and pyarrow.dataset.Dataset",
        )


def read_partitions(folders: Mapping[str, Folder], asked: Any, *, allow_pickle: bool) -> dict[str, object]:
    """The values of several partitions by their keys; `asked` is `dict[str, X]` for values of type X."""
    arguments = get_args(without_none(asked))
    one = arguments[1] if get_origin(without_none(asked)) is dict and len(arguments) == 2 else None
    return {key: Reading(folder, one, allow_pickle).value() for key, folder in folders.items()}


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
