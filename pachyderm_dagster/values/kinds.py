"""Which types of Python have a form as files, by name: whoever asks this pays for none of the libraries that they are of."""

import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin

STORED_TYPES = (
    "bytes, str, Path (a file or a folder), dict[str, bytes] (a folder), JSON (dict, list, numbers, None), DataFrames of pandas and polars, "
    "LazyFrames of polars, tables of pyarrow and arrays of numpy"
)
JSON_TYPES = dict, list, int, float, bool, type(None)
TABLE_NAMES = frozenset({"pandas.DataFrame", "polars.DataFrame", "polars.LazyFrame", "pyarrow.Table", "pyarrow.Dataset"})
"""Of the types that are read from tabular files."""
VALUE_NAMES = TABLE_NAMES | {"builtins.bytes", "builtins.str", "numpy.ndarray"}
"""Of the types that have a form of their own."""


def library_name(kind: type) -> str:
    """A class as a user names it, `pandas.DataFrame`, whatever module of the library it lies in."""
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def without_none(asked: Any) -> Any:
    """`X` of `X | None`, and of another union Any; all else as it is."""
    if get_origin(asked) in (Union, types.UnionType):
        others = [one for one in get_args(asked) if one is not type(None)]
        return others[0] if len(others) == 1 else Any
    return asked


def allows_none(asked: Any) -> bool:
    """Whether a type is `X | None`."""
    return get_origin(asked) in (Union, types.UnionType) and type(None) in get_args(asked)


def is_folder_of_bytes(asked: Any) -> bool:
    """Whether a type is `dict[str, bytes]`, which is the files of a folder."""
    return get_origin(asked) is dict and get_args(asked) == (str, bytes)


def has_form(asked: Any) -> bool:
    """Whether values of this type can be kept as files; a union's can not, except with None."""
    asked = without_none(asked)
    kind = get_origin(asked) or asked
    return isinstance(kind, type) and (kind in (*JSON_TYPES[:-1], Path) or any(library_name(one) in VALUE_NAMES for one in kind.__mro__))


def type_name(asked: Any) -> str:
    """A type as a message names it."""
    return library_name(asked).removeprefix("builtins.") if isinstance(asked, type) and get_origin(asked) is None else str(asked)
