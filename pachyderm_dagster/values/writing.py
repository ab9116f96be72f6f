"""What a value of Python becomes as files. The libraries that it is of were imported by whoever made it."""

import json
import math
import pickle
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.local_sources import files_in
from pachyderm_dagster.values.kinds import JSON_TYPES, STORED_TYPES, library_name

BYTES_FILE, TEXT_FILE, JSON_FILE, TABLE_FILE, ARRAY_FILE, PICKLE_FILE = "data.bin", "data.txt", "data.json", "data.parquet", "data.npy", "data.pkl"
PICKLED_OTHERWISE = "set `allow_pickle: true` on the IO manager"


class Target(Protocol):
    """Where files go: a commit that is being made, or a folder."""

    def put_file(self, path: str, data: bytes | Path) -> None:
        """Writes a file; a `Path` is a local one."""
        ...

    def open_file(self, path: str) -> AbstractContextManager[Any]:
        """A file to write bytes to."""
        ...


def write_value(changes: Target, folder: str, value: object, *, allow_pickle: bool, otherwise: str = PICKLED_OTHERWISE) -> None:
    """Writes a value into a directory.

    Args:
        otherwise: what to do with a value that has no form.

    Raises:
        InvalidError: `output-type`, for what there is no form for; and for a Path what `files_in` raises.
    """
    for kind in type(value).__mro__:
        writer = _WRITERS.get(library_name(kind))
        if writer is not None:
            writer(_Place(changes, folder), value)
            return
    if isinstance(value, Path):
        _write_path(_Place(changes, folder), value)
    elif isinstance(value, dict) and value and all(isinstance(name, str) and isinstance(content, bytes) for name, content in value.items()):
        _write_files(_Place(changes, folder), value)
    elif isinstance(value, JSON_TYPES) and _is_json(value):
        _Place(changes, folder).put(JSON_FILE, json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    elif allow_pickle:
        _Place(changes, folder).put(PICKLE_FILE, pickle.dumps(value))
    else:
        raise InvalidError("output-type", f"a value of type {library_name(type(value))!r} has no form as files; {_ways_out(value, otherwise)}")


def _ways_out(value: object, otherwise: str) -> str:
    found = "JSON gives back other values for it (keys that are no text, tuples, NaN, or objects within); " if isinstance(value, JSON_TYPES) else ""
    return f"{found}return one of {STORED_TYPES}, or {otherwise}"


class _Place:
    """A directory that is being written."""

    def __init__(self, changes: Target, folder: str) -> None:
        self.changes = changes
        self._prefix = folder.rstrip("/")

    def path(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def put(self, name: str, data: bytes) -> None:
        self.changes.put_file(self.path(name), data)


def _write_table(place: _Place, table: pa.Table) -> None:
    with place.changes.open_file(place.path(TABLE_FILE)) as file:
        pq.write_table(table, file, compression="zstd")


def _write_text(place: _Place, text: str) -> None:
    try:
        place.put(TEXT_FILE, text.encode())
    except UnicodeEncodeError as error:
        raise InvalidError("output-type", f"a text cannot be stored as UTF-8: {error}; return bytes, or take out half of a pair") from error


def _write_pandas(place: _Place, frame: Any) -> None:
    try:
        table = pa.Table.from_pandas(frame)
    except (pa.ArrowException, ValueError) as error:
        way_out = "give each column a name of its own and one type, of those that Parquet has"
        raise InvalidError("output-type", f"a DataFrame of pandas cannot be stored as Parquet: {error}; {way_out}") from error
    _write_table(place, table)


def _write_polars(place: _Place, frame: Any) -> None:
    # By polars itself, which knows types that others do not.
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        frame.write_parquet(file.name)
        place.changes.put_file(place.path(TABLE_FILE), Path(file.name))


def _write_lazy(place: _Place, frame: Any) -> None:
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        frame.sink_parquet(file.name)
        place.changes.put_file(place.path(TABLE_FILE), Path(file.name))


def _write_array(place: _Place, array: np.ndarray) -> None:
    if array.dtype.hasobject:
        raise InvalidError("output-type", f"an array of numpy with dtype {array.dtype} holds Python objects; give it a type of numbers or texts")
    with place.changes.open_file(place.path(ARRAY_FILE)) as file:
        np.save(file, array, allow_pickle=False)


def _write_path(place: _Place, source: Path) -> None:
    if source.is_dir():
        for location, name in files_in(str(source)):
            place.changes.put_file(place.path(name), Path(location))
    else:
        place.changes.put_file(place.path(source.name), source)


def _write_files(place: _Place, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        place.put(name.lstrip("/"), content)


def _is_json(value: object) -> bool:
    """Whether JSON gives back the same value."""
    match value:
        case dict():
            return all(type(key) is str and _is_json(one) for key, one in value.items())
        case list():
            return all(map(_is_json, value))
        case float() if type(value) is float:
            return math.isfinite(value)
    return value is None or type(value) in (str, int, bool)


_WRITERS: Mapping[str, Callable[[_Place, Any], None]] = {
    "builtins.bytes": lambda place, data: place.put(BYTES_FILE, data),
    "builtins.bytearray": lambda place, data: place.put(BYTES_FILE, bytes(data)),
    "builtins.memoryview": lambda place, data: place.put(BYTES_FILE, bytes(data)),
    "builtins.str": _write_text,
    "pandas.DataFrame": _write_pandas,
    "polars.DataFrame": _write_polars,
    "polars.LazyFrame": _write_lazy,
    "pyarrow.Table": _write_table,
    "numpy.ndarray": _write_array,
}
