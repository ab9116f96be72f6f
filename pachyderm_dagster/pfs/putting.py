"""Writes what planned sources hold: whole, cut into records, or unpacked. Local files many at a time, URLs many at once."""

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol, assert_never

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.archives import files_of, is_archive
from pachyderm_dagster.pfs.filesets import FileSet
from pachyderm_dagster.pfs.http_sources import HttpDownload
from pachyderm_dagster.pfs.http_urls import without_user
from pachyderm_dagster.pfs.kept_downloads import Batch, KeptDownloads, cut_into_batches
from pachyderm_dagster.pfs.local_sources import files_in, open_local
from pachyderm_dagster.pfs.object_sources import downloads_below, list_objects, object_download
from pachyderm_dagster.pfs.path_columns import clean_file_paths
from pachyderm_dagster.pfs.paths import clean_file_path, refused_names
from pachyderm_dagster.pfs.sources import Source, SourceKind
from pachyderm_dagster.pfs.splitting import Split, put_split
from pachyderm_dagster.pfs.streams import Watched
from pachyderm_dagster.pfs.transfers import Download, Transfers, download_ahead
from pachyderm_dagster.storage.chunks import Readable
from pachyderm_dagster.storage.ingest import ingest_files
from pachyderm_dagster.storage.objects import ObjectStore

# So many at a time, to tell how far it is.
_FILES_AT_ONCE = 50_000


class Watcher(Protocol):
    """Is told how far a put is."""

    def expect(self, files: int, /) -> None:
        """So many files more were found."""
        ...

    def done(self, size: int, files: int, /) -> None:
        """So many bytes and files more were read."""
        ...


class Unwatched:
    """Nobody wants to know."""

    def expect(self, files: int, /) -> None:
        """Says nothing."""

    def done(self, size: int, files: int, /) -> None:
        """Says nothing."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How sources are put.

    Attributes:
        append: behind what the files hold; parts of a split behind those of the directory.
        unpack: archives that are found in folders and below prefixes are unpacked where they lie.
        split: cut each source into parts.
    """

    append: bool = False
    unpack: bool = False
    split: Split | None = None
    transfers: Transfers = field(default_factory=Transfers)


def put_sources(
    files: FileSet,
    store: ObjectStore,
    sources: Sequence[Source],
    *,
    stdin: Readable,
    manner: Manner,
    watcher: Watcher | None = None,
    kept: KeptDownloads | None = None,
) -> int:
    """Writes planned sources, in order; returns the number of files.

    Args:
        store: where contents go, the one that `files` writes to.
        kept: what earlier puts left of the objects below a prefix, and where this one leaves them; None to download all.

    Raises:
        InvalidError: `path-invalid`, `source-unreadable`, `source-invalid`, `file-unreadable`, `archive-invalid`, `split-invalid`.
        NotFoundError: `source-not-found`.
        UnreachableError: `source-unreachable`.
        ConflictError: `source-changed`; `write-collected`, when the collector was faster.
    """
    putting = _Putting(files, store, stdin, manner, watcher or Unwatched(), kept)
    for way, group in groupby(sources, lambda source: _way(source, manner, keeping=kept is not None)):
        match way:
            case _Way.BULK:
                putting.put_bulk(group)
            case _Way.REMOTE:
                putting.put_remote(group)
            case _Way.KEPT:
                putting.put_prefixes(group)
            case _Way.SINGLE:
                putting.put_single(group)
            case _:
                assert_never(way)
    return putting.count


class _Way(enum.Enum):
    """How sources are read."""

    BULK = "bulk"  # local files, stored many at a time
    REMOTE = "remote"  # downloaded many at a time
    KEPT = "kept"  # downloaded many at a time, or found where a put before this one left it
    SINGLE = "single"  # one after another


def _way(source: Source, manner: Manner, *, keeping: bool) -> _Way:
    match source.kind:
        case SourceKind.PREFIX if keeping and manner.split is None and not manner.unpack:
            return _Way.KEPT
        case SourceKind.HTTP | SourceKind.OBJECT | SourceKind.PREFIX:
            return _Way.REMOTE
        case SourceKind.FILE | SourceKind.FOLDER if manner.split is None and not source.is_archive:
            return _Way.BULK
    return _Way.SINGLE


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the content of one thing goes. `name` is its own, for messages."""

    name: str
    target: str
    is_archive: bool


@dataclass(slots=True)
class _Putting:
    files: FileSet
    store: ObjectStore
    stdin: Readable
    manner: Manner
    watcher: Watcher
    kept: KeptDownloads | None
    count: int = 0

    def put_bulk(self, sources: Iterable[Source]) -> None:
        locations: list[str] = []
        targets = []
        for source in sources:
            if source.kind is SourceKind.FILE:
                locations.append(source.location)
                targets.append(pa.array([source.target]))
                continue
            found = list(files_in(source.location))
            if self.manner.unpack and any(is_archive(name) for _, name in found):
                # In order, so that of two files of one path the later counts.
                self._store(locations, targets)
                locations, targets = [], []
                self._put_each(_places(source, found, unpack=True))
                continue
            locations += [location for location, _ in found]
            targets.append(_targets(source, [name for _, name in found]))
        self._store(locations, targets)

    def put_remote(self, sources: Iterable[Source]) -> None:
        for place, download in download_ahead(self._downloads(sources), self.manner.transfers.parallelism):
            self._put(place, download)

    def put_prefixes(self, sources: Iterable[Source]) -> None:
        assert self.kept is not None
        for source in sources:
            objects = list_objects(source.location)
            targets = _targets(source, [one.name for one in objects])
            self.watcher.expect(len(objects))
            missing: list[tuple[Batch, pa.StringArray]] = []
            done = 0
            for batch in cut_into_batches(source.location, objects):
                into = targets.slice(done, len(batch.objects))
                done += len(batch.objects)
                rows = self.kept.find(batch)
                if rows is None:
                    missing.append((batch, into))
                    continue
                self.files.put_rows(rows.add_column(0, "path", into), append=self.manner.append)
                self.watcher.done(batch.size_bytes, len(batch.objects))
                self.count += len(batch.objects)
            self._download(source.location, missing, self.kept)

    def _download(self, url: str, batches: Sequence[tuple[Batch, pa.StringArray]], kept: KeptDownloads) -> None:
        """Puts batches; each is kept as soon as it is whole, while the next ones are on their way."""
        transfers = self.manner.transfers
        objects = [one for batch, _ in batches for one in batch.objects]
        arriving = download_ahead(((None, download) for download in downloads_below(url, objects, transfers)), transfers.parallelism)
        for batch, targets in batches:
            contents = []
            for target in targets.to_pylist():
                _, download = next(arriving)
                content = self.files.writer.write_stream(Watched(download, lambda size: self.watcher.done(size, 0)))
                self.files.put_content(target, content, append=self.manner.append)
                contents.append(content)
                self.watcher.done(0, 1)
                self.count += 1
            kept.keep(batch, contents, self.files.writer)

    def put_single(self, sources: Iterable[Source]) -> None:
        for source in sources:
            if source.kind is SourceKind.FOLDER:
                self._put_each(_places(source, list(files_in(source.location)), unpack=self.manner.unpack))
            elif source.kind is SourceKind.STDIN:
                self.watcher.expect(1)
                self._put(_Place("standard input", source.target, source.is_archive), self.stdin)
            else:
                self._put_each([(source.location, _Place(source.location, source.target, source.is_archive))])

    def _downloads(self, sources: Iterable[Source]) -> Iterator[tuple[_Place, Download]]:
        transfers = self.manner.transfers
        for source in sources:
            if source.kind is SourceKind.PREFIX:
                objects = list_objects(source.location)
                places = [place for _, place in _places(source, [(one.name, one.name) for one in objects], unpack=self.manner.unpack)]
                self.watcher.expect(len(places))
                yield from zip(places, downloads_below(source.location, objects, transfers), strict=True)
                continue
            self.watcher.expect(1)
            is_http = source.kind is SourceKind.HTTP
            download = HttpDownload(source.location, transfers) if is_http else object_download(source.location, transfers)
            yield _Place(without_user(source.location), source.target, source.is_archive), download

    def _store(self, locations: Sequence[str], targets: Sequence[pa.StringArray]) -> None:
        if not locations:
            return
        self.watcher.expect(len(locations))
        tables = []
        for at in range(0, len(locations), _FILES_AT_ONCE):
            tables.append(ingest_files(self.store, locations[at : at + _FILES_AT_ONCE], self.files.writer.count_stored))
            self.watcher.done(pc.sum(tables[-1].column("size")).as_py(), len(tables[-1]))
        rows = pa.concat_tables(tables)
        self.files.put_rows(rows.add_column(0, "path", pa.concat_arrays(targets)), append=self.manner.append)
        self.count += len(locations)

    def _put_each(self, places: Sequence[tuple[str, _Place]]) -> None:
        """Local files, each with where it lies and where it goes."""
        self.watcher.expect(len(places))
        for location, place in places:
            with open_local(location) as body:
                self._put(place, body)

    def _put(self, place: _Place, body: Readable) -> None:
        body = Watched(body, lambda size: self.watcher.done(size, 0))
        if place.is_archive:
            for path, content in files_of(body, place.name):
                self._put_body(f"{place.target.rstrip('/')}{path}", content, f"{place.name}: {path}")
        else:
            self._put_body(place.target, body, place.name)
        self.watcher.done(0, 1)

    def _put_body(self, target: str, body: Readable, name: str) -> None:
        if self.manner.split is None:
            self.files.put_stream(target, body, append=self.manner.append)
            self.count += 1
            return
        if not self.manner.append:
            self.files.delete(target)
            self.files.delete_directory(target)
        self.count += put_split(self.files, target, body, self.manner.split, name)


def _places(folder: Source, found: Sequence[tuple[str, str]], *, unpack: bool) -> list[tuple[str, _Place]]:
    """The files of a folder or prefix, as (location, name below it), with where each goes: of an archive the folder that it lies in."""
    targets = _targets(folder, [name for _, name in found]).to_pylist()
    places = []
    for (location, name), target in zip(found, targets, strict=True):
        unpacked = unpack and is_archive(name)
        places.append((location, _Place(f"{folder.location.rstrip('/')}/{name}", target.rpartition("/")[0] or "/" if unpacked else target, unpacked)))
    return places


def _targets(folder: Source, names: Sequence[str]) -> pa.StringArray:
    """The paths of files by their names below a folder."""
    prefix = folder.target.rstrip("/")
    try:
        targets = clean_file_paths([f"{prefix}/{name}" for name in names])
    except InvalidError as error:
        raise refused_names(_refused(prefix, names)) from error
    if pc.count_distinct(targets).as_py() < len(targets):
        counts = pc.value_counts(targets)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))[0].as_py()
        one, other, *_ = (ascii(name) for name, target in zip(names, targets.to_pylist(), strict=True) if target == twice)
        raise InvalidError(
            "path-invalid", f"{one} and {other} below {folder.location!r} both go to {twice!r}: they differ in the form of accents alone; rename one"
        )
    return targets


def _refused(prefix: str, names: Sequence[str]) -> list[tuple[str, InvalidError]]:
    """Those of the names below a folder that cannot be paths, and why."""
    found = []
    for name in names:
        try:
            clean_file_path(f"{prefix}/{name}")
        except InvalidError as error:
            found.append((name, error))
    return found
