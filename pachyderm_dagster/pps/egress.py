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
    """`s3://`, `gs://`, `az://` or `file:///`, with a prefix."""


class SqlFileFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the files hold rows."""

    type: FileType
    """`CSV`; `JSON`, an object a line; `PARQUET`."""
    columns: tuple[str, ...] = ()
    """Which columns the files have."""


class SqlSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the password lies: a secret, and the key in it."""

    name: str
    """Of the secret."""
    key: str
    """Whose value is the password."""


class SqlDatabase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each file's rows replace those of the table that its path begins with."""

    url: str
    """`postgresql://`, `mysql://` or `sqlite:////`, without a password."""
    file_format: SqlFileFormat
    """How files hold rows."""
    secret: SqlSecret | None = None
    """Where the password is; without it the variable `PACHYDERM_SQL_PASSWORD` has it."""


class Egress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where output goes: to one of the two."""

    object_storage: ObjectStorage | None = None
    """A bucket or folder."""
    sql_database: SqlDatabase | None = None
    """Tables."""
    tries: int = DEFAULT_TRIES
    """How often a destination that does not answer is asked, with growing pauses."""


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
