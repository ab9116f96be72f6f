"""Unpacks tar archives as streams: plain ones and those packed with gzip, bzip2, xz or Zstandard."""

import bz2
import contextlib
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator

import pyarrow as pa

from pachyderm_dagster.errors import InvalidError, PachydermError
from pachyderm_dagster.pfs.paths import clean_file_path
from pachyderm_dagster.pfs.streams import as_file
from pachyderm_dagster.storage.chunks import Readable

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_PEEKED_BYTES = 512
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a pipe",
}


def is_archive(name: str) -> bool:
    """Whether a file's name is one of a tar archive."""
    return name.lower().endswith(SUFFIXES)


def files_of(archive: Readable, name: str) -> Iterator[tuple[str, Readable]]:
    """The files of an archive as (path, content) in its order; each is to be read before the next is asked for. Folders are left out.

    Args:
        name: of the archive, for messages.

    Raises:
        InvalidError: `archive-invalid`, when it is no archive or ends early, for links and devices, and for a path that no file may have.
    """
    with _translated(name), tarfile.open(fileobj=as_file(_unpacked(archive)), mode="r|", encoding="utf-8") as members:
        for member in members:
            if member.isdir():
                continue
            content = members.extractfile(member) if member.isreg() else None
            if content is None:
                kind = _KINDS.get(member.type, "no file")
                raise InvalidError("archive-invalid", f"{name}: {member.name!r} is {kind}, and a repo holds files only; leave it out of the archive")
            yield _path(member.name, name), _Member(content, name)


class _Member:
    """The content of a file in an archive; what is wrong with the archive often shows here."""

    def __init__(self, content: Readable, name: str) -> None:
        self._content = content
        self._name = name

    def read(self, size: int, /) -> bytes:
        with _translated(self._name):
            return self._content.read(size)


def _path(member: str, name: str) -> str:
    try:
        # `tar c .` writes every name with `./` before it.
        return clean_file_path("/".join(element for element in member.split("/") if element != "."))
    except InvalidError as error:
        raise InvalidError("archive-invalid", f"{name}: {error.message}") from error


def _unpacked(archive: Readable) -> Readable:
    file = as_file(archive)
    head = file.peek(_PEEKED_BYTES)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file, mode="rb")
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(file)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        zstandard: Readable = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
        return zstandard
    return file


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException) as error:
        raise _unreadable(name, error) from error
    except OSError as error:
        # So says bz2 that its data are none; an error of the system, which has a number, is not the archive's.
        if error.errno is not None or isinstance(error, PachydermError):
            raise
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> InvalidError:
    return InvalidError("archive-invalid", f"{name} is no tar archive that can be read, or ends early: {error}")
