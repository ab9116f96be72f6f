"""Staged writes: what one stream of puts and deletes will do to the files below it.

A file set turns the stream into layers. A layer first deletes, from everything below it, then puts. So the order of a stream is the order of its layers,
and the layers of an open commit stack up from stream to stream. `merging` makes a tree of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.pfs.path_columns import clean_file_paths, keys_of
from pachyderm_dagster.pfs.paths import ROOT, SEPARATOR, clean_file_path, clean_path, key_of
from pachyderm_dagster.storage.chunks import Readable
from pachyderm_dagster.storage.content import Content, ContentWriter
from pachyderm_dagster.storage.rows import FILE_ROWS, content_array, contents_of

# File rows, and whether the content goes behind what the file holds below rather than in its place.
PUT_SCHEMA = FILE_ROWS.schema.append(pa.field("append", pa.bool_()))
_LAYER_VERSION = 1


def numbered_key(directory: str, number: int) -> str:
    """The key of a file that is named by a number, in the directory of that key."""
    return f"{directory}{SEPARATOR}{number:016x}" if directory else f"{number:016x}"


@dataclass(frozen=True, slots=True)
class Layer:
    """One step of a stream: deletes, then puts.

    Attributes:
        puts: one row a file, as in PUT_SCHEMA, in any order.
        deleted_keys: files that go, if they exist.
        deleted_directories: keys of directories of which everything goes; empty for the root.
        numbered: key of a directory (empty for the root) in which the puts are named by numbers that begin behind those that are there; see `numbering`.
    """

    puts: pa.Table
    deleted_keys: tuple[str, ...] = ()
    deleted_directories: tuple[str, ...] = ()
    numbered: str | None = None

    def encode(self) -> bytes:
        """The layer as bytes to store."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, PUT_SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
            stream.write_table(self.puts)
        return msgspec.msgpack.encode(_StoredLayer(_LAYER_VERSION, sink.getvalue().to_pybytes(), self.deleted_keys, self.deleted_directories, self.numbered))

    @staticmethod
    def decode(data: bytes) -> "Layer":
        """The layer that `encode` made bytes of.

        Raises:
            StorageError: `layer-format`, when another version of this program wrote it.
        """
        stored = msgspec.msgpack.decode(data, type=_StoredLayer)
        if stored.version != _LAYER_VERSION:
            raise StorageError(
                "layer-format", f"staged files of format {stored.version} were found, this version reads {_LAYER_VERSION}; use the one that wrote them"
            )
        return Layer(pa.ipc.open_stream(stored.puts).read_all(), stored.deleted_keys, stored.deleted_directories, stored.numbered)


class _StoredLayer(msgspec.Struct, frozen=True, array_like=True):
    version: int
    puts: bytes
    deleted_keys: tuple[str, ...]
    deleted_directories: tuple[str, ...]
    numbered: str | None = None


class FileSet:
    """Takes the writes of one stream, in order.

    A put replaces what the file held, with `append` it goes behind it: behind what was put before in this stream, in the open commit and in its parent.
    All methods raise `InvalidError` `path-invalid` for a path that no file may have, and what `ContentWriter` raises.

    Attributes:
        writer: stores the contents; for those that `put_content` is given too.
    """

    def __init__(self, writer: ContentWriter) -> None:
        self.writer = writer
        self._layers: list[Layer] = []
        # The layer being made; dictionaries for their order.
        self._puts: dict[str, tuple[Content, bool]] = {}
        self._deleted_keys: dict[str, None] = {}
        self._deleted_directories: dict[str, None] = {}
        self._numbered: str | None = None

    def put_bytes(self, path: str, data: Buffer, *, append: bool = False) -> None:
        """Writes a file; `data` must not change before `layers` was called."""
        self._begin()
        key = key_of(clean_file_path(path))
        if append and key in self._puts:
            content, append = self._puts[key]
            self._puts[key] = (self.writer.append(content, data), append)
        else:
            self._puts[key] = (self.writer.write(data), append)

    def put_stream(self, path: str, stream: Readable, *, append: bool = False) -> None:
        """Writes a file from a stream, in bounded memory."""
        self._begin()
        key = key_of(clean_file_path(path))
        if append and key in self._puts:
            content, append = self._puts[key]
            self._puts[key] = (self.writer.append(content, stream), append)
        else:
            self._puts[key] = (self.writer.write_stream(stream), append)

    def put_next(self, directory: str, data: Buffer | Readable) -> None:
        """Writes a file into a directory, under a number: the next behind those that are there when the stream is applied (see `numbering`)."""
        key = key_of(clean_path(directory))
        self._begin(numbered=key)
        content = self.writer.write(data) if isinstance(data, bytes | bytearray | memoryview) else self.writer.write_stream(data)
        self._puts[numbered_key(key, len(self._puts))] = (content, False)

    def put_content(self, path: str, content: Content, *, append: bool = False) -> None:
        """Writes a file whose content is stored already."""
        self._begin()
        key = key_of(clean_file_path(path))
        if append and key in self._puts:
            self._seal()
        self._puts[key] = (content, append)

    def put_rows(self, rows: pa.Table, *, append: bool = False) -> None:
        """Writes many files whose contents are stored already: the columns `path`, `size`, `hash`, `refs`, in the order of the stream."""
        paths = clean_file_paths(rows.column("path").combine_chunks())
        if pc.count_distinct(paths).as_py() < len(paths):
            for path, content in zip(paths.to_pylist(), contents_of(rows), strict=True):
                self.put_content(path, content, append=append)
            return
        self._put_distinct(keys_of(paths), rows, append=append)

    def copy_rows(self, rows: pa.Table, source: str, target: str, *, append: bool = False) -> None:
        """Writes the files of `rows` (file rows of a tree: a file, or everything below a directory) under `target` instead of `source`; no content is read."""
        before = key_of(clean_path(source))
        keys = rows.column("key").combine_chunks()
        if len(keys) and keys[0].as_py() == before:
            self._put_distinct(pa.array([key_of(clean_file_path(target))]), rows, append=append)
            return
        prefix = "" if clean_path(target) == ROOT else key_of(clean_path(target)) + SEPARATOR
        names = pc.utf8_slice_codeunits(keys, len(before) + 1 if before else 0)
        self._put_distinct(pc.binary_join_element_wise(prefix, names, ""), rows, append=append)

    def delete(self, path: str) -> None:
        """Removes a file; one that does not exist is no error, and a directory of that name stays."""
        self._begin()
        key = key_of(clean_file_path(path))
        self._puts.pop(key, None)
        self._deleted_keys[key] = None

    def delete_directory(self, path: str) -> None:
        """Removes every file below a directory; `/` removes all. One that does not exist is no error."""
        self._begin()
        if self._puts:
            self._seal()
        self._deleted_directories[key_of(clean_path(path))] = None

    def add_layers(self, layers: Sequence[Layer]) -> None:
        """Goes on with what other streams did; their contents are stored already."""
        self._seal()
        self._layers.extend(layers)

    def layers(self, *, durable: bool = True) -> list[Layer]:
        """What the stream does, lowest layer first. All its contents are durable, unless the caller leaves that for later and flushes the writer."""
        self._seal()
        if durable:
            self.writer.flush()
        return list(self._layers)

    def _put_distinct(self, keys: pa.StringArray, rows: pa.Table, *, append: bool) -> None:
        """Seals a layer of its own for a column of keys that occur once each."""
        self._seal()
        columns = [keys, pa.repeat(b"", len(keys)), rows.column("size"), rows.column("hash"), rows.column("refs"), pa.repeat(append, len(keys))]
        self._layers.append(Layer(pa.Table.from_arrays(columns, schema=PUT_SCHEMA)))

    def _begin(self, *, numbered: str | None = None) -> None:
        """Sees to it that the layer being made takes puts of this kind."""
        if self._numbered != numbered:
            self._seal()
            self._numbered = numbered

    def _seal(self) -> None:
        if not (self._puts or self._deleted_keys or self._deleted_directories):
            return
        contents = content_array([content for content, _ in self._puts.values()])
        columns = [
            pa.array(self._puts, pa.string()),
            pa.repeat(b"", len(self._puts)),
            *contents.flatten(),
            pa.array([append for _, append in self._puts.values()], pa.bool_()),
        ]
        self._layers.append(
            Layer(pa.Table.from_arrays(columns, schema=PUT_SCHEMA), tuple(self._deleted_keys), tuple(self._deleted_directories), self._numbered)
        )
        self._puts, self._deleted_keys, self._deleted_directories = {}, {}, {}
