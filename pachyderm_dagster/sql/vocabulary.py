"""What is said of databases and of files of rows; apart from what acts on it, so that a spec is checked without SQLAlchemy and Arrow."""

import enum
from urllib.parse import urlsplit

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.settings import SQL_PASSWORD

FORMS = "postgresql://user@host:5432/database, mysql://user@host:3306/database or sqlite:////folder/file.db"
KINDS = {
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
}


class FileType(enum.StrEnum):
    """What files hold rows as."""

    CSV = "CSV"  # RFC 4180; a field that is empty and not in quotes is null
    JSON = "JSON"  # an object a line
    PARQUET = "PARQUET"


def check_url(url: str) -> str:
    """The kind of database that a URL names: `postgresql`, `mysql` or `sqlite`.

    Raises:
        InvalidError: `sql-url-invalid`.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InvalidError("sql-url-invalid", f"a database's URL does not parse: {error}; it takes {FORMS}") from error
    kind = KINDS.get(parts.scheme)
    if kind is None:
        found = "that of Snowflake, for which there is no driver here" if parts.scheme == "snowflake" else repr(parts.scheme)
        raise InvalidError("sql-url-invalid", f"the scheme of a database's URL is {found}; it takes {FORMS}")
    if parts.password is not None:
        # A spec is kept and shown, and a command line is seen by everybody on the machine.
        remedy = f"leave it out and set {SQL_PASSWORD}, or name a secret"
        raise InvalidError("sql-url-invalid", f"a database's URL holds a password, which would be shown; {remedy}")
    if kind == "sqlite":
        if parts.netloc or not parts.path.startswith("//"):
            raise InvalidError("sql-url-invalid", f"{url!r} does not name a file from the root on; write four slashes: sqlite:////folder/file.db")
    elif not parts.hostname or parts.path in ("", "/"):
        raise InvalidError("sql-url-invalid", f"{url!r} names no {'database' if parts.hostname else 'host'}; it takes {FORMS}")
    return kind
