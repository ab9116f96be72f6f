"""Writes extracts as Pachyderm 1.x did, with Google's protobuf over descriptors that have the field numbers of its .proto files."""

import hashlib
import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]  # it comes without stubs

STRING, BYTES, INT64, UINT64, BOOL, FLOAT, DOUBLE = "string", "bytes", "int64", "uint64", "bool", "float", "double"
# Name of the message: its fields as name -> (number, type); a type in brackets is repeated.
MESSAGES: Mapping[str, Mapping[str, tuple[int, Any]]] = {
    "Timestamp": {"seconds": (1, INT64), "nanos": (2, INT64)},
    "Repo": {"name": (1, STRING)},
    "Branch": {"repo": (1, "Repo"), "name": (2, STRING)},
    "Commit": {"repo": (1, "Repo"), "id": (2, STRING)},
    "CommitProvenance": {"commit": (1, "Commit"), "branch": (2, "Branch")},
    "CommitOrigin": {"kind": (1, INT64)},
    "Object": {"hash": (1, STRING)},
    "Block": {"hash": (1, STRING)},
    "ByteRange": {"lower": (1, UINT64), "upper": (2, UINT64)},
    "BlockRef": {"block": (1, "Block"), "range": (2, "ByteRange")},
    "PutObjectRequest": {"value": (1, BYTES)},
    "PutBlockRequest": {"block": (1, "Block"), "value": (2, BYTES)},
    "CreateObjectRequest": {"object": (1, "Object"), "block_ref": (2, "BlockRef")},
    "CreateRepoRequest": {"repo": (1, "Repo"), "description": (3, STRING)},
    "BuildCommitRequest": {
        "parent": (1, "Commit"),
        "tree": (3, "Object"),
        "ID": (5, STRING),
        "provenance": (6, ["CommitProvenance"]),
        "trees": (7, ["Object"]),
        "size_bytes": (9, UINT64),
        "started": (10, "Timestamp"),
        "finished": (11, "Timestamp"),
        "origin": (12, "CommitOrigin"),
    },
    "Trigger": {"branch": (1, STRING), "commits": (5, INT64)},
    "CreateBranchRequest": {"head": (1, "Commit"), "s_branch": (2, STRING), "branch": (3, "Branch"), "provenance": (4, ["Branch"]), "trigger": (5, "Trigger")},
    "Pipeline": {"name": (1, STRING)},
    "EnvEntry": {"key": (1, STRING), "value": (2, STRING)},
    "Transform": {
        "image": (1, STRING),
        "cmd": (2, [STRING]),
        "env": (3, ["EnvEntry"]),
        "stdin": (5, [STRING]),
        "accept_return_code": (6, [INT64]),
        "user": (10, STRING),
    },
    "PFSInput": {"name": (1, STRING), "repo": (2, STRING), "branch": (3, STRING), "glob": (5, STRING), "lazy": (6, BOOL)},
    "CronInput": {"name": (1, STRING), "repo": (2, STRING), "spec": (4, STRING), "start": (5, "Timestamp")},
    "GitInput": {"name": (1, STRING), "url": (2, STRING), "branch": (3, STRING)},
    "Input": {"cross": (2, ["Input"]), "union": (3, ["Input"]), "cron": (4, "CronInput"), "git": (5, "GitInput"), "pfs": (6, "PFSInput")},
    "ParallelismSpec": {"constant": (2, UINT64)},
    "CreatePipelineRequest": {
        "pipeline": (1, "Pipeline"),
        "transform": (2, "Transform"),
        "update": (5, BOOL),
        "parallelism_spec": (7, "ParallelismSpec"),
        "output_branch": (10, STRING),
        "input": (13, "Input"),
        "description": (14, STRING),
        "datum_timeout": (24, "Timestamp"),
        "salt": (26, STRING),
        "datum_tries": (28, INT64),
        "spec_commit": (34, "Commit"),
    },
    "CreateJobRequest": {"pipeline": (2, "Pipeline"), "data_processed": (27, INT64)},
    "Operation": {
        "object": (2, "PutObjectRequest"),
        "repo": (4, "CreateRepoRequest"),
        "commit": (5, "BuildCommitRequest"),
        "branch": (6, "CreateBranchRequest"),
        "pipeline": (7, "CreatePipelineRequest"),
        "job": (8, "CreateJobRequest"),
        "create_object": (9, "CreateObjectRequest"),
        "block": (10, "PutBlockRequest"),
    },
    "Op": {name: (number, "Operation") for number, name in enumerate(("op1_7", "op1_8", "op1_9", "op1_10", "op1_11", "op1_12", "op2_0"), start=1)},
    "FileNodeProto": {"objects": (4, ["Object"]), "block_refs": (7, ["BlockRef"])},
    "DirectoryNodeProto": {"children": (3, [STRING])},
    "NodeProto": {
        "name": (1, STRING),
        "hash": (2, BYTES),
        "subtree_size": (3, INT64),
        "file_node": (4, "FileNodeProto"),
        "dir_node": (5, "DirectoryNodeProto"),
    },
    "FsEntry": {"key": (1, STRING), "value": (2, "NodeProto")},
    "HashTreeProto": {"version": (1, INT64), "fs": (2, ["FsEntry"])},
    "BucketHeader": {"bucket": (1, STRING)},
}


def _classes() -> Mapping[str, Any]:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="old.proto", package="old", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated, kind = isinstance(kind, list), kind[0] if isinstance(kind, list) else kind
            added = message.field.add(name=field, number=number, label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL)
            added.type = getattr(kinds, f"TYPE_{kind.upper()}", kinds.TYPE_MESSAGE) if kind.islower() else kinds.TYPE_MESSAGE
            if added.type == kinds.TYPE_MESSAGE:
                added.type_name = f".old.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"old.{name}")) for name in MESSAGES}


CLASSES = _classes()


def encode(name: str, **fields: Any) -> bytes:
    """A message; values of fields that are messages are mappings."""
    data: bytes = CLASSES[name](**fields).SerializeToString()
    return data


def framed(data: bytes) -> bytes:
    return struct.pack("<q", len(data)) + data


def snapped(data: bytes) -> bytes:
    """Bytes in snappy's frames, without true checksums."""
    codec = pa.Codec("snappy")
    frames = [b"\xff\x06\x00\x00sNaPpY"]
    for at in range(0, len(data), 65536):
        body = b"\0\0\0\0" + codec.compress(data[at : at + 65536], asbytes=True)
        frames.append(b"\x00" + len(body).to_bytes(3, "little") + body)
    return b"".join(frames)


class OldCluster:
    """An extract that is being written, of a version: `op1_7` or `op1_12`."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._out = io.BytesIO()
        self._blocks = 0

    def written(self) -> bytes:
        return self._out.getvalue()

    def do(self, **operation: Any) -> None:
        """One operation."""
        self._out.write(framed(encode("Op", **{self._version: operation})))

    def put(self, data: bytes) -> str:
        """Content; its hash."""
        hash = hashlib.sha512(data).hexdigest()
        if self._version in ("op1_7", "op1_8"):
            for at in range(0, len(data), 10):
                self.do(object={"value": data[at : at + 10]})
            self.do(object={})
            return hash
        self._blocks += 1
        block = f"{self._blocks:032x}"
        filling = b"something else"
        for at in range(0, len(filling + data), 16):
            self.do(block={"block": {"hash": block}, "value": (filling + data)[at : at + 16]})
        self.do(block={"block": {"hash": block}})
        within = {"lower": len(filling), "upper": len(filling + data)}
        self.do(create_object={"object": {"hash": hash}, "block_ref": {"block": {"hash": block}, "range": within}})
        return hash

    def node(self, parts: Sequence[bytes]) -> dict[str, Any]:
        return {"file_node": {"objects": [{"hash": self.put(part)} for part in parts]}, "subtree_size": sum(map(len, parts))}

    def tree(self, files: Mapping[str, Sequence[bytes]]) -> str:
        """A tree of files, each of parts; the hash of the object that it is."""
        nodes = {"": {"dir_node": {"children": []}}, **{path: self.node(parts) for path, parts in files.items()}}
        if self._version == "op1_7":
            return self.put(encode("HashTreeProto", version=1, fs=[{"key": path, "value": node} for path, node in nodes.items()]))
        keys = {path.replace("/", "\0").encode() or b"\0": encode("NodeProto", **node) for path, node in nodes.items()}
        data = framed(encode("BucketHeader", bucket="fs"))
        data += b"".join(framed(key) + framed(value) for key, value in sorted(keys.items())) + framed(b"*")
        return self.put(data + framed(encode("BucketHeader", bucket="changed")) + framed(b"*"))

    def shard(self, files: Mapping[str, bytes]) -> str:
        """One of several trees of an output, whose files are ranges of blocks."""
        data = b""
        for path, content in sorted(files.items()):
            self._blocks += 1
            block = f"{self._blocks:032x}"
            self.do(block={"block": {"hash": block}, "value": content})
            self.do(block={"block": {"hash": block}})
            place = {"block": {"hash": block}, "range": {"lower": 0, "upper": len(content)}}
            data += framed(path.replace("/", "\0").encode()) + framed(encode("NodeProto", file_node={"block_refs": [place]}))
        return self.put(data)
