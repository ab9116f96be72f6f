"""A second reader of a store in a folder, written from docs/reference/format.md alone: it imports nothing of the package.

python tests/format/reader.py FOLDER            lists the commits, newest first
python tests/format/reader.py FOLDER REPO@ID    lists the files of one
python tests/format/reader.py FOLDER REPO@ID PATH   prints a file
"""

import datetime as dt
import re
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from blake3 import blake3

FORMAT = b"pachyderm-dagster storage 1\n"
CHUNK_OBJECT_BYTES = 1 << 20
REFS = pa.list_(pa.struct([("object", pa.binary(32)), ("offset", pa.int64()), ("length", pa.int64())]))
CONTENT = [("size", pa.int64()), ("hash", pa.binary(32)), ("refs", REFS)]
FILE_ROWS = pa.schema([("key", pa.string()), ("datum", pa.binary()), *CONTENT])
DATUM_ROWS = pa.schema(
    [
        ("key", pa.string()),
        ("hash", pa.binary(32)),
        ("state", pa.uint8()),
        ("job", pa.string()),
        ("outputs", pa.list_(pa.string())),
        ("details", pa.struct(CONTENT)),
    ]
)
ENTRIES = pa.schema(
    [
        ("key", pa.string()),
        ("id", pa.binary(32)),
        ("object", pa.binary(32)),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("count", pa.int64()),
        ("size_bytes", pa.int64()),
    ]
)


class Damaged(Exception):
    """Stored bytes are not what they should be."""


def digest(tag: str, *parts: bytes) -> bytes:
    """BLAKE3 of tag and parts, each behind its length."""
    hasher = blake3()
    for part in (tag.encode(), *parts):
        hasher.update(len(part).to_bytes(8, "little") + part)
    return bytes(hasher.digest())


class Msgpack:
    """Decodes msgpack: maps, arrays, texts, bytes, numbers, booleans, nil, timestamps."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def read(self) -> Any:
        first = self.number("B")
        if first < 0x80:
            return first
        if first < 0x90:
            return self.map(first & 15)
        if first < 0xA0:
            return [self.read() for _ in range(first & 15)]
        if first < 0xC0:
            return self.take(first & 31).decode()
        if first >= 0xE0:
            return first - 256
        if first in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[first]
        plain = {0xCA: "f", 0xCB: "d", 0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"}
        if first in plain:
            return self.number(plain[first])
        sized = {0xC4: "B", 0xC5: "H", 0xC6: "I", 0xD9: "B", 0xDA: "H", 0xDB: "I", 0xDC: "H", 0xDD: "I", 0xDE: "H", 0xDF: "I"}
        if first in sized:
            size = self.number(sized[first])
            if first <= 0xC6:
                return self.take(size)
            if first <= 0xDB:
                return self.take(size).decode()
            return [self.read() for _ in range(size)] if first <= 0xDD else self.map(size)
        lengths = {0xD6: 4, 0xD7: 8, 0xC7: None}
        if first not in lengths:
            raise Damaged(f"msgpack has no type {first:#x} here")
        return self.timestamp(lengths[first] or self.number("B"))

    def map(self, size: int) -> dict[Any, Any]:
        return {self.read(): self.read() for _ in range(size)}

    def timestamp(self, length: int) -> dt.datetime:
        assert self.number("b") == -1
        data = self.take(length)
        if length == 4:
            seconds, nanoseconds = int.from_bytes(data, "big"), 0
        elif length == 8:
            both = int.from_bytes(data, "big")
            seconds, nanoseconds = both & (2**34 - 1), both >> 34
        else:
            nanoseconds, seconds = struct.unpack(">Iq", data)
        return dt.datetime.fromtimestamp(seconds, dt.UTC) + dt.timedelta(microseconds=nanoseconds // 1000)

    def number(self, code: str) -> Any:
        (found,) = struct.unpack_from(f">{code}", self.data, self.at)
        self.at += struct.calcsize(code)
        return found

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]


@dataclass(frozen=True)
class File:
    """A file of a commit."""

    path: str
    size: int
    hash: bytes
    refs: list[dict[str, Any]]


class Store:
    """A store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (folder / "format").read_bytes() != FORMAT:
            raise Damaged("this is no store of format 1")

    def structure(self) -> dict[str, Any] | None:
        """The newest structure that can be read."""
        for path in sorted((self.folder / "structure").glob("*-*"), reverse=True):
            data = path.read_bytes()
            if digest("structure", data[32:]) == data[:32]:
                found: dict[str, Any] = Msgpack(zlib.decompress(data[32:])).read()
                return found
        return None

    def commits(self) -> list[dict[str, Any]]:
        """The newest record of every commit that exists, newest first."""
        newest: dict[tuple[int, str], dict[str, Any]] = {}
        for record in self.records():
            key = (record["repo_id"], record["id"])
            if key not in newest or newest[key]["written"] < record["written"]:
                newest[key] = record
        structure = self.structure()
        if structure is not None:
            removed = {(repo_id, set_id) for repo_id, set_id in structure["removed"]}
            repos, last = {repo["id"] for repo in structure["repos"]}, structure["last_rows"]["repo"]
            newest = {key: record for key, record in newest.items() if key not in removed and (key[0] in repos or key[0] > last)}
        return sorted(newest.values(), key=lambda record: record["started"], reverse=True)

    def records(self) -> Iterator[dict[str, Any]]:
        """Every commit record, also those of commits that are gone."""
        for path in (self.folder / "objects").glob("??/*"):
            for blob_id, offset, length in pack_index(path):
                if blob_id.startswith(b"PDCOMMIT"):
                    data = self.read(bytes.fromhex(path.name), offset, length)
                    if digest("commit-record", data[32:]) == data[:32]:
                        yield Msgpack(data[32:]).read()

    def files(self, commit: dict[str, Any]) -> Iterator[File]:
        """The files of a commit of a user or spec repo, in the order of their keys."""
        for row in self.rows(commit["tree"], FILE_ROWS):
            yield File("/" + row["key"].replace("\0", "/"), row["size"], row["hash"], row["refs"])

    def datums(self, commit: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The datums of a commit of a meta repo, in the order of their ids."""
        return self.rows(commit["tree"], DATUM_ROWS)

    def rows(self, tree: bytes | None, schema: pa.Schema) -> Iterator[dict[str, Any]]:
        """The rows of a tree, given by its encoded root."""
        if tree is not None:
            own_id, ref, _count, _size = Msgpack(tree).read()
            if ref is not None:
                yield from self.below(own_id, ref, schema)

    def below(self, own_id: bytes, ref: dict[str, Any], schema: pa.Schema) -> Iterator[dict[str, Any]]:
        """The rows below a node."""
        data = self.read(ref["object"], ref["offset"], ref["length"])
        magic, version, level, found, checksum = struct.unpack_from("<3sBB3x32s32s", data)
        body = data[72:]
        if magic != b"PDT" or found != own_id or checksum != digest("node", bytes([level]), own_id, body):
            raise Damaged(f"node {own_id.hex()}")
        if version == 2:
            body = pa.Codec("zstd").decompress(body[8:], decompressed_size=int.from_bytes(body[:8], "little"), asbytes=True)
        batch = pa.ipc.read_record_batch(pa.py_buffer(body), ENTRIES if level else schema)
        for row in batch.to_pylist():
            if level:
                yield from self.below(row["id"], row, schema)
            else:
                yield row

    def content(self, file: File) -> bytes:
        """The bytes of a file, verified."""
        chunks = [self.read(ref["object"], ref["offset"], ref["length"]) for ref in file.refs]
        ids = [bytes(blake3(chunk).digest()) for chunk in chunks]
        for ref, own_id in zip(file.refs, ids, strict=True):
            if ref["length"] >= CHUNK_OBJECT_BYTES and own_id != ref["object"]:
                raise Damaged(f"chunk {own_id.hex()}")
        whole = ids[0] if len(ids) == 1 else digest("file", *ids) if ids else bytes(blake3(b"").digest())
        if whole != file.hash:
            raise Damaged(file.path)
        return b"".join(chunks)

    def read(self, object_id: bytes, offset: int, length: int) -> bytes:
        """A range of an object."""
        name = object_id.hex()
        with (self.folder / "objects" / name[:2] / name).open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise Damaged(f"object {name}")
        return data


def pack_index(path: Path) -> list[tuple[bytes, int, int]]:
    """Id, offset and length of each blob of a pack; none of an object that is no pack."""
    data = path.read_bytes()
    if len(data) < 48 or data[-48:-40] != b"PDPACK\0\1":
        return []
    count = int.from_bytes(data[-40:-32], "little")
    index = data[len(data) - 48 - 40 * count : -48]
    if bytes(blake3(index).digest()) != data[-32:]:
        raise Damaged(f"index of {path.name}")
    lengths = struct.unpack_from(f"<{count}Q", index, 32 * count)
    starts = [sum(lengths[:number]) for number in range(count)]
    return [(index[32 * number : 32 * number + 32], starts[number], lengths[number]) for number in range(count)]


def name_of(record: dict[str, Any]) -> str:
    """A commit as people write it."""
    kind = "" if record["repo_type"] == "user" else f".{record['repo_type']}"
    project = "" if record["project"] == "default" else f"{record['project']}/"
    return f"{project}{record['repo']}{kind}@{record['id']}"


def main(folder: str, reference: str | None = None, path: str | None = None) -> None:
    """Prints what the arguments ask for."""
    store = Store(Path(folder))
    for record in store.commits():
        if reference is None:
            sys.stdout.write(f"{name_of(record)} {record['size_bytes']} {record['error'] or ''}\n")
        elif name_of(record) == reference and not re.search(r"\.meta@", reference):
            for file in store.files(record):
                if path is None:
                    sys.stdout.write(f"{file.size} {file.path}\n")
                elif file.path == path:
                    sys.stdout.buffer.write(store.content(file))


if __name__ == "__main__":
    main(*sys.argv[1:])
