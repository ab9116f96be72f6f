"""Paths and keys by the column; apart from `paths`, because workers need those and not Arrow, which takes most of the time of their start."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.pfs.paths import MAX_ELEMENT_BYTES, MAX_PATH_BYTES, ROOT, SEPARATOR, clean_file_path

# What `clean_path` refuses in a path that has exactly one leading slash, as RE2 reads it: an element that is empty, `.` or `..`, or a forbidden character.
_REFUSED = r"//|/\.{0,2}$|/\.{1,2}/|[\x00-\x1f\x7f-\x{9f}*?\[\]{}!()@+^]"

# Of bytes, which the column is cast to for this.
_LONG_ELEMENT = rf"[^/]{{{MAX_ELEMENT_BYTES + 1}}}"


def clean_file_paths(texts: Sequence[str] | pa.StringArray) -> pa.StringArray:
    """`clean_file_path` for many at once, at the speed of a column; the first bad one in order raises.

    Raises:
        InvalidError: `path-invalid`.
    """
    try:
        column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    except UnicodeEncodeError:
        # A lone surrogate stands for a byte that is not UTF-8, and Arrow cannot hold it.
        return pa.array([clean_file_path(text) for text in texts], pa.string())
    body = pc.utf8_trim(pc.utf8_normalize(column, form="NFC"), characters="/")
    paths = pc.binary_join_element_wise("", body, ROOT)
    refused = pc.or_(pc.match_substring_regex(paths, _REFUSED), _are_long(paths))
    if pc.any(refused).as_py():
        clean_file_path(column[pc.index(refused, True).as_py()].as_py())
    return paths


def _are_long(paths: pa.StringArray) -> pa.BooleanArray:
    """Which paths are too long, or have an element that is."""
    lengths = pc.binary_length(paths)
    longest = pc.max(lengths).as_py() or 0
    if longest <= MAX_ELEMENT_BYTES:
        return pa.repeat(False, len(paths))
    return pc.or_(pc.greater(lengths, MAX_PATH_BYTES), pc.match_substring_regex(paths.cast(pa.binary()), _LONG_ELEMENT))


def keys_of(paths: pa.StringArray) -> pa.StringArray:
    """`key_of` for a column."""
    return pc.replace_substring(pc.utf8_slice_codeunits(paths, 1), "/", SEPARATOR)


def paths_of(keys: pa.StringArray) -> pa.StringArray:
    """`path_of` for a column."""
    return pc.binary_join_element_wise("", pc.replace_substring(keys, SEPARATOR, "/"), ROOT)


def directory_keys(keys: pa.StringArray) -> pa.StringArray:
    """The key of every directory that some of these keys lie in, but for the root: each once, in no particular order."""
    found = [pa.array([], pa.string())]
    while len(keys := keys.filter(pc.match_substring(keys, SEPARATOR))):
        keys = pc.unique(pc.list_element(pc.split_pattern(keys, SEPARATOR, max_splits=1, reverse=True), 0))
        found.append(keys)
    return pc.unique(pa.concat_arrays(found))
