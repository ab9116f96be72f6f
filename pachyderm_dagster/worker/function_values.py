"""Inputs of a datum as values of Python, and values that a function returns as files of its output: in the forms that the IO manager has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_origin

import pyarrow.dataset as ds

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.local_sources import open_local
from pachyderm_dagster.pfs.paths import clean_file_path
from pachyderm_dagster.values.kinds import type_name, without_none
from pachyderm_dagster.values.reading import Reading
from pachyderm_dagster.values.writing import write_value
from pachyderm_dagster.worker.function_datum import Datum

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """Files below a folder of this machine."""

    root: Path
    files: Sequence[Path]

    @property
    def names(self) -> Sequence[str]:
        return [file.relative_to(self.root).as_posix() for file in self.files]

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def read_all(self) -> dict[str, bytes]:
        return {name: self.read(name) for name in self.names}

    def local(self) -> Path:
        return self.root

    def dataset(self, names: Sequence[str], format: str) -> ds.Dataset:
        return ds.dataset([str(self.root / name) for name in names], format=format)

    def __str__(self) -> str:
        return str(self.files[0] if len(self.files) == 1 else self.root)


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """The output of a datum, as values are written to it."""

    root: Path

    def put_file(self, path: str, data: bytes | Path) -> None:
        if isinstance(data, bytes):
            with self.open_file(path) as file:
                file.write(data)
            return
        with open_local(str(data)) as source, self.open_file(path) as file:
            while piece := source.read(_PIECE):
                file.write(piece)

    def open_file(self, path: str) -> BinaryIO:
        target = self.root / clean_file_path(path).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            return target.open("xb")
        except FileExistsError as error:
            problem = f"the value that the function returned would replace {target}, which it has written"
            raise InvalidError("output-type", f"{problem}; write into `datum.out`, or return a value") from error


def read_input(datum: Datum, input: str, asked: Any) -> object:
    """What the glob matched of an input, as a type.

    Raises:
        InvalidError: `input-type`, `pickle-refused`.
    """
    path = datum.path(input)
    folder = LocalFolder(path, datum.files(input)) if path.is_dir() else LocalFolder(path.parent, [path])
    return Reading(folder, asked, allow_pickle=False).value()


def write_returned(datum: Datum, asked: Any, value: object) -> None:
    """Writes what a function returned below the folder of the output that is this datum's; of None nothing.

    Raises:
        InvalidError: `output-type`.
    """
    if value is None:
        return
    if isinstance(value, Path) and value.resolve().is_relative_to(datum.out.resolve()):
        raise InvalidError("output-type", f"the function returned {value}, which is in the output already; return nothing")
    write_value(OutputFolder(datum.out), output_folder(datum), value, allow_pickle=False, otherwise="write it into files of `datum.out`")


def is_of(value: object, asked: Any) -> bool:
    """Whether a value is of a type that has a form; what it holds is not looked at."""
    kind = get_origin(without_none(asked)) or without_none(asked)
    return isinstance(value, (float, int) if kind is float else kind) or (value is None and without_none(asked) is not asked)


def returned_wrongly(value: object, asked: Any) -> str:
    """Why a value is not what the function says that it returns."""
    return f"the function returned {type_name(type(value))}, and its annotation says {type_name(asked)}"


def output_folder(datum: Datum) -> str:
    """The folder of the output that is this datum's and no other's: the paths that the globs matched, and of a group its key."""
    parts: list[str] = []
    groups: set[str] = set()
    for input in sorted(datum.inputs):
        group = datum.environment.get(f"PACH_DATUM_{input}_GROUP_BY")
        if group is None:
            parts += datum.path(input).relative_to(datum.folder(input)).parts
        elif group not in groups:
            groups.add(group)
            parts.append(group.strip("/"))
    return "/" + "/".join(parts)
