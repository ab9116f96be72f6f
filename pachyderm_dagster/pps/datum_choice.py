"""Which datums of a plan a text means: by a file that they read, or by the beginning of their ids."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pps.datums import Datums

_ID = re.compile("[0-9a-f]{4,64}")
_NAMED = 3


def choose_datum(datums: Datums, text: str) -> int:
    """The row of the one datum that `text` means: `/path` or `INPUT:/path` of a file or directory that it reads, else of what lies in it, or the first digits
    (at least four) of its id.

    Raises:
        NotFoundError: `datum-not-found`.
        InvalidError: `datum-ambiguous`.
    """
    rows = _with_id(datums, text) if _ID.fullmatch(text) else pa.array([], pa.int64())
    rows = rows if len(rows) else _with_file(datums, text)
    if not len(rows):
        raise NotFoundError(
            "datum-not-found",
            f"none of the {len(datums):,} datums has an id that begins with '{text}' or reads that; `pachctl list datum -p PIPELINE` lists them",
        )
    if len(rows) > 1:
        some = rows.slice(0, _NAMED).to_pylist()
        shown = "; ".join(
            f"{id[:12]} ({', '.join(file.path for file in datums.files(row))})"
            for id, row in zip(datums.table.column("id").take(some).to_pylist(), some, strict=True)
        )
        raise InvalidError(
            "datum-ambiguous", f"{len(rows):,} datums are meant by '{text}': {shown}{'; ...' if len(rows) > _NAMED else ''}; give the beginning of an id"
        )
    return int(rows[0].as_py())


def _with_id(datums: Datums, begun: str) -> pa.Int64Array:
    return pc.indices_nonzero(pc.starts_with(datums.table.column("id").combine_chunks(), begun)).cast(pa.int64())


def _with_file(datums: Datums, text: str) -> pa.Int64Array:
    """The datums that read the file itself, else those that read a directory around it."""
    name, colon, path = text.partition(":") if ":" in text else ("", "", text)
    wanted = f"/{path.strip('/')}"
    exact, around = [np.array([], np.int64)], [np.array([], np.int64)]
    found = datums.input_files
    for start, leaf, files in zip(found.starts[:-1].tolist(), found.leaves, found.tables, strict=True):
        if colon and leaf.name != name:
            continue
        paths = files.column("path").combine_chunks()
        exact.append(start + pc.indices_nonzero(pc.equal(paths, wanted)).to_numpy())
        begins = pc.binary_join_element_wise(pc.utf8_rtrim(paths, "/"), "", "/")
        holds = pc.and_(pc.equal(files.column("type"), "dir"), pa.array([f"{wanted}/".startswith(begin) for begin in begins.to_pylist()], pa.bool_()))
        around.append(start + pc.indices_nonzero(holds).to_numpy())
    rows = _reading(datums, np.concatenate(exact))
    return rows if len(rows) else _reading(datums, np.concatenate(around))


def _reading(datums: Datums, numbers: "np.ndarray") -> pa.Int64Array:
    """The datums that have one of these files."""
    files = datums.table.column("files").combine_chunks()
    among = pc.is_in(pc.list_flatten(files), value_set=pa.array(numbers.astype(np.int32)))
    return pc.unique(pc.list_parent_indices(files).filter(among)).cast(pa.int64())
