"""What the databases' drivers say went wrong, as errors of this package: told apart by code, for texts change with language and version."""

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy import exc

from pachyderm_dagster.errors import ConflictError, InvalidError, PachydermError, StorageError, UnreachableError

BUSY_TIMEOUT_SECONDS = 60

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_LOST_RACES = {"40001", "40P01"}  # serialization_failure, deadlock_detected
_TIMEOUTS = {"55P03", "57014", "25P03", "25P04"}  # lock_not_available, query_canceled, idle_in_transaction_session_timeout, transaction_timeout
_FULL = {"53100"}  # disk_full
_DENIED = {"42501", "28000", "28P01"}  # insufficient_privilege, invalid_authorization_specification, invalid_password
_READ_ONLY = {"25006"}  # read_only_sql_transaction: what a standby says
_TEXT = {"22021", "22P05"}  # character_not_in_repertoire, untranslatable_character
_NO_SUCH = {"42P01", "42703"}  # undefined_table, undefined_column
_GONE = "08", "57P", "53"  # connection exceptions, shutdowns, a server without connections or memory to spare


class LostRace(Exception):
    """Two transactions met; the whole of ours can run again."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's outages into ours; a mistake in our own SQL stays what it is.

    Raises:
        LostRace: when the transaction can run again.
    """
    try:
        yield
    except exc.TimeoutError as error:
        # Every connection of this process was in use by its other threads.
        raise _busy() from error
    except exc.DBAPIError as error:
        failure = _failure(error)
        if failure is None:
            raise
        raise failure from error


def _failure(error: exc.DBAPIError) -> PachydermError | LostRace | None:
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_failure(error.orig)
    return _postgresql_failure(error)


def _sqlite_failure(error: sqlite3.Error) -> PachydermError | None:
    # Of this there is no code; the texts of SQLite are in no other language.
    if str(error).startswith(("no such table", "no such column")):
        return _incomplete(str(error))
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the rest of an extended code says where it happened
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return _busy()
        case sqlite3.SQLITE_FULL:
            return _full()
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StorageError(
                "home-unusable",
                f"the record cannot be opened for writing: {error}; set PACHYDERM_HOME to a folder that you can write, on a disk that is not read-only",
            )
        case sqlite3.SQLITE_IOERR:
            # What SQLite says when it cannot make its own files beside the database.
            return StorageError("record-unusable", f"the record cannot be used: {error}; the disk may be full: look at `df`, free some space and try again")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StorageError(
                "record-unusable", f"the record cannot be used: {error}; restore metadata.db from a backup, or move it away and run `pachctl fsck --rebuild`"
            )
    return None


def _postgresql_failure(error: exc.DBAPIError) -> PachydermError | LostRace | None:
    text = str(error.orig).partition("\n")[0]
    state = getattr(error.orig, "sqlstate", None) or ""
    if state in _LOST_RACES:
        return LostRace(text)
    if state in _TIMEOUTS:
        return _busy()
    if state in _FULL:
        return _full()
    if state in _NO_SUCH:
        return _incomplete(text)
    if state in _DENIED:
        return StorageError("record-denied", f"the record's server refuses access: {text}; check the user of PACHYDERM_METADATA_URL and what it may do")
    if state in _READ_ONLY:
        return UnreachableError("record-unreachable", f"the record's server takes no changes: {text}; PACHYDERM_METADATA_URL must name the primary")
    if state in _TEXT or (isinstance(error, exc.DataError) and not state):
        # Without a state the driver itself refused it. SQLite takes such texts.
        return InvalidError("text-invalid", f"a text cannot be kept: {text}; leave characters like NUL out of descriptions, messages and notes")
    if isinstance(error, exc.ProgrammingError) and not state:
        # Said by the driver before it asks any server.
        return InvalidError("config-invalid", f"PACHYDERM_METADATA_URL cannot be used: {text}")
    if error.connection_invalidated or state.startswith(_GONE) or (isinstance(error, exc.OperationalError) and not state):
        return UnreachableError("record-unreachable", f"the record does not answer: {text}; check PACHYDERM_METADATA_URL and try again")
    return None


def _busy() -> ConflictError:
    return ConflictError("database-busy", f"others have held the record for {BUSY_TIMEOUT_SECONDS} s; try again when they are done")


def _incomplete(text: str) -> StorageError:
    return StorageError(
        "record-unusable", f"the record lacks a part of itself: {text}; restore it from a backup, or move it away and run `pachctl fsck --rebuild`"
    )


def _full() -> StorageError:
    return StorageError("storage-full", "the disk that holds the record is full; nothing was changed: free some space and try again")
