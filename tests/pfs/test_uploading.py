"""Files that are written below the URL of a folder or an object store."""

import secrets
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from pachyderm_dagster.errors import InvalidError, NotFoundError, UnreachableError
from pachyderm_dagster.pfs.uploading import Upload, Uploaded, upload
from pachyderm_dagster.storage.buckets import connect_bucket
from tests.storage.conftest import S3_SETTINGS, S3_URL

MIB = 1024 * 1024


def of(name: str, data: bytes) -> Upload:
    return Upload(name, len(data), lambda: iter([data[: len(data) // 2], data[len(data) // 2 :]]))


def zeros(name: str, size: int) -> Upload:
    return Upload(name, size, lambda: (bytes(MIB) for _ in range(size // MIB)))


def test_files_are_written_into_a_folder_that_is_made(tmp_path: Path) -> None:
    uploads = [of("a", b"one"), of("deep/er/b c#?%25.txt", b"two"), of("empty", b"")]
    assert upload((tmp_path / "new folder").as_uri(), uploads) == Uploaded(3, 6)
    assert (tmp_path / "new folder" / "a").read_bytes() == b"one"
    assert (tmp_path / "new folder" / "deep" / "er" / "b c#?%25.txt").read_bytes() == b"two"
    assert (tmp_path / "new folder" / "empty").read_bytes() == b""


def test_no_files_are_no_error(tmp_path: Path) -> None:
    assert upload(tmp_path.as_uri(), []) == Uploaded(0, 0)


def test_a_large_file_that_breaks_off_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"before")

    def breaking() -> Iterator[bytes]:
        yield bytes(9 * MIB)
        raise UnreachableError("storage-unreachable", "it broke")

    with pytest.raises(UnreachableError, match="it broke"):
        upload(tmp_path.as_uri(), [Upload("large", 20 * MIB, breaking)])
    assert (tmp_path / "large").read_bytes() == b"before"


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        assert upload(tmp_path.as_uri(), (zeros(str(number), 64 * MIB) for number in range(6))).bytes == 6 * 64 * MIB
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def test_a_check_that_raises_ends_the_upload(tmp_path: Path) -> None:
    calls = iter(range(100))

    def check() -> None:
        if next(calls) == 5:
            raise KeyError("stop")

    with pytest.raises(KeyError):
        upload(tmp_path.as_uri(), [zeros("large", 64 * MIB)], check)
    assert not (tmp_path / "large").exists()


def test_urls_that_cannot_be_written_to_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for url in ("http://h/p", "s3://user:secret@bucket", (tmp_path / "file").as_uri()):
        with pytest.raises((InvalidError, UnreachableError)) as raised:
            upload(url, [of("a", b"one")])
        assert "secret" not in str(raised.value)


@pytest.mark.skipif(S3_URL is None, reason="TEST_STORAGE_S3_URL names no bucket")
def test_files_are_written_into_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in S3_SETTINGS.items():
        monkeypatch.setenv(name, value)
    url = f"{S3_URL}/{secrets.token_hex(8)}"
    uploads = [of("a", b"one"), of("deep/b c#?.txt", b"two"), zeros("large", 40 * MIB), *(of(f"many/{number}", b"x") for number in range(100))]
    assert upload(url, uploads) == Uploaded(103, 6 + 40 * MIB + 100)
    bucket = connect_bucket(url)
    assert obstore.get(bucket, "deep/b c#?.txt").bytes().to_bytes() == b"two"
    assert obstore.head(bucket, "large")["size"] == 40 * MIB
    for batch in obstore.list(bucket):
        obstore.delete(bucket, [found["path"] for found in batch])
    with pytest.raises(NotFoundError) as raised:
        upload("s3://no-such-bucket/x", [of("a", b"one")])
    assert raised.value.code == "bucket-not-found"
