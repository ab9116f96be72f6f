"""Where the output of a pipeline goes beside its repo."""

from urllib.parse import urlsplit

import msgspec

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.sql.vocabulary import FileType

DEFAULT_TRIES = 5
FOLDER_FORMS = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder"
# What Pachyderm and the services' own tools write as well.
_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az", "as": "az", "file": "file"}


class ObjectStorage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each file is written to `<url>/<path>`."""

    url: str


class SqlFileFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the files hold rows."""

    type: FileType
    columns: tuple[str, ...] = ()


class SqlSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the password lies: a secret, and the key in it."""

    name: str
    key: str


class SqlDatabase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each file's rows replace those of the table that its path begins with."""

    url: str
    file_format: SqlFileFormat
    secret: SqlSecret | None = None


class Egress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where output goes: to one of the two. `tries` is how often a destination that does not answer is asked."""

    object_storage: ObjectStorage | None = None
    sql_database: SqlDatabase | None = None
    tries: int = DEFAULT_TRIES


def folder_url(url: str) -> str:
    """A URL below which files can be written, with the scheme that is used here.

    Raises:
        InvalidError: `storage-url-invalid`.
    """
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or "@" in parts.netloc or bool(parts.netloc) is (scheme == "file"):
        raise InvalidError("storage-url-invalid", f"{url!r} is no place to write files to; it takes {FOLDER_FORMS}, and no user or password")
    return parts._replace(scheme=scheme).geturl()
